import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from simquery.pictures.decoding import load_picture
from simquery.pictures.facts import camera, described, location, require_facts, taken_at
from simquery.pictures.files import open_evidence
from simquery.pictures.formats import decoded_formats
from simquery.pictures.thumbnails import THUMBNAIL_BYTES
from tests.conftest import pixels, save_picture


def gps(*values: tuple[int, int]) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(*value) for value in values)


def photographed() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Canon"
    exif[ExifTags.Base.Model] = "Canon EOS 80D"
    exif[ExifTags.Base.DateTime] = "2020:01:01 00:00:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2019:07:14 16:20:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "N",
            ExifTags.GPS.GPSLatitude: gps((52, 1), (22, 1), (12, 1)),
            ExifTags.GPS.GPSLongitudeRef: "W",
            ExifTags.GPS.GPSLongitude: gps((4, 1), (54, 1), (0, 1)),
        }
    )
    return exif


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic", "avif"])
def test_what_the_camera_wrote_is_found_in_every_format(tmp_path: Path, suffix: str) -> None:
    decoded_formats()
    path = save_picture(tmp_path / f"a.{suffix}", 1, exif=photographed())
    with open_evidence(path) as file:
        found = described(load_picture(file), with_thumbnail=False)
    assert found["camera"] == "Canon EOS 80D"
    assert found["taken_at"] == "2019-07-14T16:20:05"
    assert found["location"] == pytest.approx({"lat": 52.37, "lon": -4.9})
    assert (found["width"], found["height"]) == (64, 48)
    assert "thumbnail" not in found
    assert "truncated" not in found


def test_what_is_not_known_is_absent(tmp_path: Path) -> None:
    with open_evidence(save_picture(tmp_path / "a.png")) as file:
        found = described(load_picture(file), with_thumbnail=False)
    assert set(found) == {"format", "width", "height", "perceptual_hash"}


@pytest.mark.parametrize(
    ("original", "offset", "expected"),
    [
        ("2019:07:14 16:20:05", "+02:00", "2019-07-14T16:20:05+02:00"),
        ("2019:07:14 16:20:05", "nonsense", "2019-07-14T16:20:05"),
        ("0000:00:00 00:00:00", None, None),
        ("2019:02:31 10:00:00", None, None),
        ("1601:01:01 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("yesterday", None, None),
    ],
)
def test_a_date_is_given_only_when_it_is_one(original: str, offset: str | None, expected: str | None) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = original
    if offset:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.OffsetTimeOriginal] = offset
    assert taken_at(exif) == expected


def test_the_date_of_the_file_stands_in_for_that_of_the_photo() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = "2020:01:02 03:04:05"
    assert taken_at(exif) == "2020-01-02T03:04:05"


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("Canon", "Canon EOS 80D", "Canon EOS 80D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON CORPORATION NIKON D90"),
        ("Apple\0\0", "iPhone 12\x1b[2J", "Apple iPhone 12 [2J"),
        ("", "", None),
        ("X" * 5000, "", "X" * 100),
    ],
)
def test_the_camera_is_named_once_and_cannot_do_harm(make: str, model: str, expected: str | None) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = make, model
    assert camera(exif) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {ExifTags.GPS.GPSLatitudeRef: ""},
        {ExifTags.GPS.GPSLatitudeRef: "X"},
        {ExifTags.GPS.GPSLatitude: gps((91, 1), (0, 1), (0, 1))},
        {ExifTags.GPS.GPSLongitude: gps((181, 1), (0, 1), (0, 1))},
        {ExifTags.GPS.GPSLatitude: gps((0, 1), (0, 1), (0, 1)), ExifTags.GPS.GPSLongitude: gps((0, 1), (0, 1), (0, 1))},
        {ExifTags.GPS.GPSLatitude: gps((1, 0), (0, 1), (0, 1))},
    ],
)
def test_an_impossible_place_is_no_place(changed: dict[int, object]) -> None:
    exif = photographed()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(changed)
    assert location(exif) is None


def test_a_record_that_breaks_its_parser_is_dropped_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: 52.0, ExifTags.GPS.GPSLongitudeRef: "W"}
    )
    with open_evidence(save_picture(tmp_path / "a.jpg", exif=exif)) as file:
        found = described(load_picture(file), with_thumbnail=False)
    assert "location" not in found
    assert found["metadata_dropped"] == ["EXIF location: TypeError"]


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "0"},
        {"width": -1},
        {"height": "48"},
        {"truncated": "no"},
        {"camera": "Canon\x1b[2J"},
        {"camera": "X" * 5000},
        {"perceptual_hash": 7},
        {"taken_at": "yesterday"},
        {"taken_at": "0001-01-01T00:00:00"},
        {"location": {"lat": 91, "lon": 0}},
        {"location": {"lat": float("nan"), "lon": 0}},
        {"location": [52, 5]},
        {"metadata_dropped": [{"EXIF": "none"}]},
        {"thumbnail": "?"},
        {"thumbnail": base64.b64encode(bytes(THUMBNAIL_BYTES + 1)).decode()},
    ],
)
def test_facts_that_no_picture_has_are_not_believed(tmp_path: Path, changed: dict[str, Any]) -> None:
    decoded_formats()
    exif = photographed()
    exif[ExifTags.Base.Model] = "caf\u00e9 \ue000 \u0378"
    path = save_picture(tmp_path / "a.heic", 1, exif=exif)
    with open_evidence(path) as file:
        facts = described(load_picture(file), with_thumbnail=True)
    assert require_facts(facts) == facts
    with pytest.raises(ValueError):  # noqa: PT011
        require_facts(facts | changed)


def test_the_perceptual_hash_outlives_scaling_and_saving_anew(tmp_path: Path, photos: Path) -> None:
    def hashed(path: Path) -> int:
        with open_evidence(path) as file:
            return int(described(load_picture(file), with_thumbnail=False)["perceptual_hash"], 16)

    first, second = sorted(photos.glob("*/*.jpg"))[:400:399]
    with Image.open(first) as image:
        image.resize((image.width // 2, image.height // 2)).save(tmp_path / "small.jpg", quality=60)
    assert (hashed(first) ^ hashed(tmp_path / "small.jpg")).bit_count() <= 6
    assert (hashed(first) ^ hashed(second)).bit_count() > 12


@pytest.mark.parametrize("noisy", [False, True])
def test_a_thumbnail_is_a_small_jpeg_whatever_the_picture(tmp_path: Path, *, noisy: bool) -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 256, (500, 700, 3), dtype=np.uint8) if noisy else pixels(1, 500, 700)
    Image.fromarray(values).save(tmp_path / "a.png")
    with open_evidence(tmp_path / "a.png") as file:
        content = base64.b64decode(described(load_picture(file), with_thumbnail=True)["thumbnail"])
    assert len(content) <= THUMBNAIL_BYTES
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "JPEG"
        assert image.width > image.height >= 90
