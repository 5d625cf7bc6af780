"""References and own networks on the real server: what is decoded where, and which vectors are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from simquery.embedders import Embedder, Features, Pixels, build_embedder
from simquery.indexer import Counts, Indexer, check_folder, scan
from simquery.mappings import files_index, images_index
from simquery.pictures.decoders import Decoders
from simquery.pictures.decoding import decode
from simquery.pictures.files import open_evidence
from simquery.query import Searcher
from simquery.settings import load_settings
from tests.conftest import save_picture
from tests.plain import Mean
from tests.server.conftest import MODEL


def test_only_a_picture_that_the_case_does_not_know_is_decoded_and_in_a_process_of_its_own(
    client: Elasticsearch,
    case: str,
    index: Callable[[Path], Counts],
    tmp_path: Path,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index(save_picture(tmp_path / "evidence" / "1.png", 1).parent)
    own = Decoders(1)
    monkeypatch.setattr("simquery.query.references.shared_decoders", lambda: own)
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    searcher.reference(save_picture(tmp_path / "copy.png", 1))
    assert not own._running
    new = searcher.reference(save_picture(tmp_path / "new.png", 2))
    assert len(own._running) == 1
    own.close()
    with open_evidence(tmp_path / "new.png") as file:
        _, (pixels,) = decode(file, [embedder.input_size])
    np.testing.assert_array_equal(new.vectors, embedder.embed(pixels[np.newaxis]))


class Moody(Mean):
    """A network whose answer is too long for dark pictures, too short for bright ones, and none for grey ones."""

    name = "moody"

    def embed(self, batch: Pixels) -> Features:
        answers = {0: 1e30, 255: 1e-30, 128: np.nan}
        scale = [answers.get(int(picture[0, 0, 0]), 1.0) for picture in batch]
        return (np.ones((len(batch), 3)) * np.array(scale)[:, np.newaxis]).astype(np.float32)


def test_a_vector_that_elasticsearch_cannot_compute_with_is_refused_for_its_picture_by_name(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    for name, colour in {"dark": 0, "bright": 255, "grey": 128, "red": 77}.items():
        Image.new("RGB", (64, 48), (colour, colour, colour)).save(tmp_path / f"{name}.png")
    moody = build_embedder(load_settings(model="moody", embedders={"moody": f"{__name__}:Moody"}))
    indexer = Indexer(client, case, moody)
    indexer.index(scan(check_folder(tmp_path)), lambda _: None)
    assert (indexer.counts.indexed, indexer.counts.unreadable) == (1, 3)
    client.indices.refresh(index=files_index(case))
    answer = client.search(index=files_index(case), size=10)
    reasons = {Path(hit["_source"]["path"]).stem: hit["_source"].get("reason") for hit in answer["hits"]["hits"]}
    assert reasons.pop("red") is None
    assert all("'moody'" in str(reason) for reason in reasons.values())


def test_a_picture_with_metadata_that_cannot_be_used_is_indexed_and_its_document_says_what_was_dropped(
    client: Elasticsearch, case: str, index: Callable[[Path], Counts], tmp_path: Path
) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[ExifTags.Base.Orientation] = TiffTags.DOUBLE
    tags[ExifTags.Base.Orientation] = float("inf")
    save_picture(tmp_path / "odd.tif", 1, tiffinfo=tags)
    assert index(tmp_path).indexed == 1
    search = client.search(index=images_index(case, MODEL), query={"exists": {"field": "metadata_dropped"}})
    (found,) = search["hits"]["hits"]
    assert found["_source"]["metadata_dropped"] == ["EXIF orientation: inf"]
