"""Thumbnails: small, recognisable, and blurred on request."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simquery.errors import PictureError
from simquery.pictures.thumbnails import THUMBNAIL_BYTES, blurred, read_small, read_thumbnail, thumbnail
from tests.conftest import save_picture


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "JPEG"
        return image.convert("RGB")


@pytest.mark.parametrize("size", [(1, 1), (3000, 7), (640, 480)])
def test_the_noisiest_picture_fits(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = thumbnail(Image.fromarray(noise))
    assert len(content) <= THUMBNAIL_BYTES
    decoded(content)


def test_a_file_keeps_its_shape(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), (10, 200, 30)).save(tmp_path / "wide.png")
    small = decoded(read_thumbnail(tmp_path / "wide.png"))
    assert small.size == (192, 96)
    assert np.allclose(small.getpixel((50, 50)), (10, 200, 30), atol=4)


def test_a_file_is_decoded_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence may be hostile whenever it is read, even long after indexing."""
    path = save_picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", None)
    assert read_small(path, 64).size == (64, 48)


def test_a_blurred_one_has_lost_its_details(tmp_path: Path) -> None:
    stripes = np.zeros((192, 192, 3), dtype=np.uint8)
    stripes[:, ::8] = 255
    sharp = thumbnail(Image.fromarray(stripes))
    before, after = (np.asarray(decoded(content)).astype(float).std() for content in (sharp, blurred(sharp)))
    assert after < before / 5


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(save_picture(tmp_path / "whole.jpg").read_bytes()[:40])
    with pytest.raises(PictureError):
        read_thumbnail(tmp_path / "broken.jpg")
