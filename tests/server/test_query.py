"""The same query in Elasticsearch and in NumPy, and everything a query promises."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import bulk, pack_dense_vector
from numpy.typing import NDArray

from simquery.distances import DISTANCES
from simquery.embedders import Embedder, Features, Pixels
from simquery.errors import CaseError, PictureError, SchemaError
from simquery.indexer import Counts
from simquery.mappings import open_images_index
from simquery.query import Reference, Searcher
from tests.conftest import save_picture
from tests.server.conftest import MODEL

DIMS = 96
Index = Callable[[Path], Counts]


def never() -> Embedder:
    raise AssertionError("the network was asked for")


def store(client: Elasticsearch, case: str, vectors: NDArray[np.float32]) -> list[str]:
    """Store vectors as the indexer does; their ids are in the order of the rows."""
    index = open_images_index(client, case, "net", vectors.shape[1], "f" * 64)
    ids = [f"{number:064x}" for number in range(len(vectors))]
    exact = vectors.astype(np.float64)
    bulk(
        client,
        (
            {
                "_index": index,
                "_id": ids[row],
                "sha256": ids[row],
                "paths": [f"/evidence/{row}.jpg"],
                "embedding": pack_dense_vector(vectors[row]),
                "norm": float(np.linalg.norm(exact[row])),
                "sum": float(exact[row].sum()),
            }
            for row in range(len(vectors))
        ),
        refresh=True,
    )
    return ids


def references(vectors: NDArray[np.float32]) -> list[Reference]:
    return [Reference(Path(f"{row}.jpg"), f"{row}", vector) for row, vector in enumerate(vectors)]


def features(seed: int, count: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Like a network's pooled features: never negative, many small, some zero."""
    values = np.random.default_rng(seed).gamma(0.4, 1.0, (count, DIMS)) * scale
    return np.where(values < 0.02 * scale, 0, values).astype(np.float32)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("count", [1, 3])
def test_rankings_and_distances_agree_with_numpy(client: Elasticsearch, case: str, scale: float, count: int) -> None:
    collection, queries = features(1, 500, scale), features(2, count, scale)
    collection[7] = queries[0]  # the reference itself
    collection[8] = queries[0] * np.float32(1 + 1e-3)  # and a near-duplicate
    ids = store(client, case, collection)
    searcher = Searcher(client, case, "net", never)
    for distance in DISTANCES.values():
        expected = distance.between(queries, collection).sum(axis=0)
        ranking = searcher.rank(references(queries), distance, 500)
        got = {hit.sha256: hit.distance for hit in ranking.hits}
        assert len(got) == 500
        smallest = 1e-6 * float(np.median(expected))
        np.testing.assert_allclose([got[name] for name in ids], expected, rtol=1e-5, atol=smallest)
        order = [hit.distance for hit in ranking.hits]
        assert order == sorted(order)
        if count == 1:
            assert ranking.hits[0].sha256 == ids[7]
            assert ranking.hits[0].distance == 0.0


def test_ties_are_ordered_by_content_and_the_ranking_is_repeatable(client: Elasticsearch, case: str) -> None:
    collection = np.repeat(features(3, 5), 20, axis=0)
    ids = store(client, case, collection)
    searcher = Searcher(client, case, "net", never)
    runs = []
    for _ in range(2):
        hits = searcher.rank(references(features(4, 1)), DISTANCES["modified"], 100).hits
        runs.append([(hit.sha256, hit.distance) for hit in hits])
        client.indices.forcemerge(index=f"simquery-images-{case}-net", max_num_segments=1)
    assert runs[0] == runs[1]
    keys = [(distance, sha256) for sha256, distance in runs[0]]
    assert keys == sorted(keys)
    assert {sha256 for sha256, _ in runs[0]} == set(ids)


def test_k_cuts_the_ranking_and_the_collection_is_counted_in_full(client: Elasticsearch, case: str) -> None:
    store(client, case, features(5, 60))
    ranking = Searcher(client, case, "net", never).rank(references(features(6, 1)), DISTANCES["cosine"], 7)
    assert [hit.rank for hit in ranking.hits] == list(range(1, 8))
    assert (ranking.k, ranking.collection_size, ranking.mode) == (7, 60, "exact")


@pytest.mark.parametrize("name", DISTANCES)
def test_vectors_whose_components_cancel_out_do_not_fail_the_search(
    client: Elasticsearch, case: str, name: str
) -> None:
    collection = features(7, 20)
    collection[3] = np.tile([1.0, -1.0], DIMS // 2)
    collection[4] = 1.0
    ids = store(client, case, collection)
    for query in (collection[3:4], collection[4:5], features(8, 1)):
        expected = DISTANCES[name].between(query, collection)[0]
        hits = Searcher(client, case, "net", never).rank(references(query), DISTANCES[name], 20).hits
        got = {hit.sha256: hit.distance for hit in hits}
        np.testing.assert_allclose([got[i] for i in ids], expected, rtol=1e-4, atol=1e-6 * float(np.median(expected)))


def test_a_reference_of_the_case_is_found_first_without_the_network(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    for seed in range(12):
        save_picture(tmp_path / f"{seed}.png", seed)
    index(tmp_path)
    searcher = Searcher(client, case, MODEL, never)
    for name, distance in DISTANCES.items():
        first = searcher.rank([searcher.reference(tmp_path / "5.png")], distance, 3).hits[0]
        assert first.paths == (str(tmp_path / "5.png"),), name
        assert first.distance == 0.0


def test_a_new_reference_goes_through_the_network(
    client: Elasticsearch, case: str, index: Index, embedder: Embedder, tmp_path: Path
) -> None:
    for seed in range(12):
        save_picture(tmp_path / "case" / f"{seed}.png", seed)
    index(tmp_path / "case")
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    other = searcher.reference(save_picture(tmp_path / "other.jpg", 5, quality=90))
    first = searcher.rank([other], DISTANCES["cosine"], 3).hits[0]
    assert first.paths == (str(tmp_path / "case" / "5.png"),)
    assert 0 < first.distance < 0.05


def test_a_reference_that_cannot_be_read_is_named(
    client: Elasticsearch, case: str, index: Index, embedder: Embedder, tmp_path: Path
) -> None:
    save_picture(tmp_path / "case" / "a.png")
    index(tmp_path / "case")
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    (tmp_path / "diary.jpg").write_text("dear diary")
    for name, reason in (
        ("diary.jpg", "not a picture"),
        ("missing.jpg", "No such file"),
        ("case", "not a regular file"),
    ):
        with pytest.raises(PictureError, match=f"{name}' cannot be .*{reason}"):
            searcher.reference(tmp_path / name)


class Renamed:
    """A network under the name of another, with weights of its own."""

    name = MODEL
    dims = 3
    input_size = (8, 8)
    fingerprint = "0" * 64

    def embed(self, batch: Pixels) -> Features:
        return batch.mean(axis=(1, 2)).astype(np.float32)


def test_a_reference_is_not_embedded_with_other_weights_than_the_case(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    save_picture(tmp_path / "case" / "a.png")
    index(tmp_path / "case")
    with pytest.raises(SchemaError, match="other weights"):
        Searcher(client, case, MODEL, Renamed).reference(save_picture(tmp_path / "b.png", 2))


def test_a_ranking_of_a_part_of_the_collection_is_refused(client: Elasticsearch, case: str) -> None:
    store(client, case, features(10, 40))
    index = f"simquery-images-{case}-net"
    broken = {"sha256": "f" * 64, "paths": ["/evidence/broken.jpg"], "embedding": features(11, 1)[0].tolist()}
    client.index(index=index, id="broken", document=broken, refresh=True)  # no norm: one shard's script fails
    with pytest.raises(ApiError):
        Searcher(client, case, "net", never).rank(references(features(12, 1)), DISTANCES["cosine"], 40)


def test_a_pipe_as_reference_is_refused_and_not_waited_for(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    save_picture(tmp_path / "case" / "a.png")
    index(tmp_path / "case")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PictureError, match="not a regular file"):
        Searcher(client, case, MODEL, never).reference(tmp_path / "pipe.jpg")


def test_a_query_before_anything_is_indexed_says_so(client: Elasticsearch, case: str) -> None:
    with pytest.raises(CaseError, match="Nothing has been indexed yet"):
        Searcher(client, case, MODEL, never)
    open_images_index(client, case, "net", DIMS, "f" * 64)
    with pytest.raises(CaseError, match="holds no picture"):
        Searcher(client, case, "net", never).rank(references(features(9, 1)), DISTANCES["cosine"], 5)


@pytest.mark.usefixtures("command_environment")
def test_a_query_by_an_indexed_picture_does_not_load_tensorflow(case: str, index: Index, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    index(tmp_path)
    program = (
        "import sys\nfrom simquery.cli.main import cli\n"
        f"cli(['query', {str(tmp_path / 'a.png')!r}, '--case', {case!r}], standalone_mode=False)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
