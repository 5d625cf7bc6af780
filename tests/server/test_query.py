"""The same query in Elasticsearch and in NumPy, and the promises of a query."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch
from PIL import Image

from simquery.distances import DISTANCES
from simquery.embedders import Embedder, Features, Pixels
from simquery.errors import CaseError, PictureError, QueryError, SchemaError
from simquery.indexer import Counts
from simquery.mappings import open_images_index, store_candidates
from simquery.query import Augmentation, Combine, Filters, Mode, Place, Query, Reference, Searcher, ranking_table
from simquery.query.approximation import measure_recall, sampled_references, sufficient
from tests.conftest import save_picture
from tests.server.conftest import MODEL
from tests.server.vectors import DIMS, features, never, ranked, references, store

Index = Callable[[Path], Counts]


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
        ranking = ranked(searcher, queries, distance.name, 500)
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
        hits = ranked(searcher, features(4, 1), "modified", 100).hits
        runs.append([(hit.sha256, hit.distance) for hit in hits])
        client.indices.forcemerge(index=f"simquery-images-{case}-net", max_num_segments=1)
    assert runs[0] == runs[1]
    keys = [(distance, sha256) for sha256, distance in runs[0]]
    assert keys == sorted(keys)
    assert {sha256 for sha256, _ in runs[0]} == set(ids)


def test_k_cuts_the_ranking_and_the_collection_is_counted_in_full(client: Elasticsearch, case: str) -> None:
    store(client, case, features(5, 60))
    ranking = ranked(Searcher(client, case, "net", never), features(6, 1), "cosine", 7)
    assert [hit.rank for hit in ranking.hits] == list(range(1, 8))
    assert (ranking.matched, ranking.collection_size, ranking.mode) == (60, 60, Mode.EXACT)


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
        hits = ranked(Searcher(client, case, "net", never), query, name, 20).hits
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
        first = searcher.rank(Query((searcher.reference(tmp_path / "5.png"),), distance, 3)).hits[0]
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
    first = searcher.rank(Query((other,), DISTANCES["cosine"], 3)).hits[0]
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
    """A network with the name of another network, but other weights."""

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
        ranked(Searcher(client, case, "net", never), features(12, 1), "cosine", 40)


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
        ranked(Searcher(client, case, "net", never), features(9, 1), "cosine", 5)


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


@pytest.mark.parametrize("combine", Combine)
@pytest.mark.parametrize("rejected", [0, 2])
def test_references_variants_and_rejected_pictures_count_as_in_numpy(
    client: Elasticsearch, case: str, combine: Combine, rejected: int
) -> None:
    collection = features(20, 300)
    ids = store(client, case, collection)
    wanted = tuple(Reference(f"{i}.jpg", f"{i}", features(21 + i, 3)) for i in range(2))
    unwanted = references(features(30, rejected))
    searcher = Searcher(client, case, "net", never)
    for distance in DISTANCES.values():
        query = Query(wanted, distance, 300, combine, unwanted)
        expected = query.example.distances(distance, collection)
        got = {hit.sha256: hit.distance for hit in searcher.rank(query).hits}
        np.testing.assert_allclose([got[name] for name in ids], expected, rtol=1e-5, err_msg=distance.name)


def test_a_rejected_picture_comes_last_and_a_reference_first(client: Elasticsearch, case: str) -> None:
    collection = features(31, 50)
    ids = store(client, case, collection)
    searcher = Searcher(client, case, "net", never)
    for name in DISTANCES:
        hits = ranked(searcher, collection[3:4], name, 50, rejected=references(collection[9:10])).hits
        assert (hits[0].sha256, hits[-1].sha256) == (ids[3], ids[9])
        assert hits[0].distance == 0.0


def test_a_ranking_that_is_too_long_to_hold_is_refused_and_can_be_streamed(
    client: Elasticsearch, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(client, case, features(30, 120))
    monkeypatch.setattr("simquery.query.searcher.MAX_HELD", 100)
    searcher = Searcher(client, case, "net", never)
    assert len(ranked(searcher, features(31, 1), "cosine", 100)) == 100
    with pytest.raises(QueryError, match="120 hits are too many to hold in memory: at most 100"):
        ranked(searcher, features(31, 1), "cosine", 120)
    everything = Query(references(features(31, 1)), DISTANCES["cosine"], k=None)
    with pytest.raises(QueryError, match="--output csv, jsonl or trec"):
        searcher.rank(everything)
    assert len(list(searcher.hits(everything))) == 120


def test_a_ranking_goes_on_over_pages_without_a_gap(
    client: Elasticsearch, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = np.repeat(features(32, 100), 3, axis=0)  # ties across the ends of pages
    store(client, case, collection)
    searcher = Searcher(client, case, "net", never)
    at_once = ranked(searcher, features(33, 1), "cosine", 300).hits
    monkeypatch.setattr("simquery.query.searcher._PAGE", 50)
    monkeypatch.setattr("simquery.query.searcher._DEEP_PAGE", 70)
    for k in (None, 300, 1000):
        assert ranked(searcher, features(33, 1), "cosine", k).hits == at_once
    assert ranked(searcher, features(33, 1), "cosine", 155).hits == at_once[:155]
    query = Query(references(features(33, 1)), DISTANCES["cosine"], None)
    assert tuple(itertools.islice(searcher.hits(query), 90)) == at_once[:90]
    assert client.nodes.stats(metric="indices")["nodes"].popitem()[1]["indices"]["search"]["open_contexts"] == 0


@pytest.mark.parametrize("k", [5, None])
def test_within_gives_what_is_no_farther(client: Elasticsearch, case: str, k: int | None) -> None:
    store(client, case, features(34, 80))
    searcher = Searcher(client, case, "net", never)
    for name in DISTANCES:
        everything = ranked(searcher, features(35, 1), name, None).hits
        limit = everything[20].distance
        ranking = ranked(searcher, features(35, 1), name, k, within=limit)
        assert ranking.hits == everything[: min(k or 21, 21)], name
        assert (ranking.matched, ranking.collection_size) == (21, 80)
    assert not ranked(searcher, features(35, 1), "manhattan", k, within=0.0).hits


GRAPHS = [("none", "cosine"), ("flat", "cosine"), ("hnsw", "l2_norm"), ("int8_hnsw", "cosine"), ("bbq_hnsw", "cosine")]


@pytest.mark.parametrize(("vector_index", "similarity"), GRAPHS)
def test_every_index_type_gives_exact_distances(
    client: Elasticsearch, case: str, vector_index: str, similarity: str
) -> None:
    collection, query = features(36, 400), features(37, 1)
    collection[7] = query[0]
    ids = store(client, case, collection, vector_index=vector_index, similarity=similarity)
    searcher = Searcher(client, case, "net", never)
    for name, distance in DISTANCES.items():
        expected = distance.between(query, collection)[0]
        exact = ranked(searcher, query, name, 400)
        got = {hit.sha256: hit.distance for hit in exact.hits}
        # A field with cosine similarity is stored normalised: equal vectors differ in the last digit of a float32.
        least = 2e-6 * float(np.median(expected))
        np.testing.assert_allclose([got[name] for name in ids], expected, rtol=1e-5, atol=least)
        if vector_index == "none":
            continue
        approximate = ranked(searcher, query, name, 20, mode=Mode.APPROXIMATE, candidates=300)
        assert (approximate.mode, approximate.candidates, approximate.matched) == (Mode.APPROXIMATE, 300, None)
        assert [hit.distance for hit in approximate.hits] == [got[hit.sha256] for hit in approximate.hits]
        assert len({hit.sha256 for hit in approximate.hits} & {hit.sha256 for hit in exact.hits[:20]}) >= 19


def test_the_mode_is_chosen_by_size_depth_and_graph(client: Elasticsearch, case: str) -> None:
    store(client, case, features(38, 60), vector_index="hnsw")
    small, large = (Searcher(client, case, "net", never, exact_up_to=size) for size in (60, 59))
    query = features(39, 1)
    assert ranked(small, query, "cosine", 5).mode is Mode.EXACT
    assert ranked(large, query, "modified", 5).mode is Mode.APPROXIMATE
    assert ranked(large, query, "manhattan", 5).mode is Mode.EXACT  # the graph compares by cosine
    assert ranked(large, query, "cosine", None).mode is Mode.EXACT
    assert ranked(large, query, "cosine", 5, within=0.5).mode is Mode.EXACT


def test_an_approximate_query_of_a_case_without_a_graph_is_refused(client: Elasticsearch, case: str) -> None:
    store(client, case, features(40, 5))
    with pytest.raises(QueryError, match="without a graph"):
        ranked(Searcher(client, case, "net", never), features(41, 1), "cosine", 5, mode=Mode.APPROXIMATE)


FACTS = [
    {"paths": ["/e/DCIM/100/IMG_1.JPG"], "format": "JPEG", "width": 4000, "height": 3000, "camera": "NIKON D90",
     "taken_at": "2019-05-31T23:59:59", "location": {"lat": 52.37, "lon": 4.9}, "labels": ["boat"]},
    {"paths": ["/e/a[1].png", "/e/DCIM/b.png"], "format": "PNG", "width": 64, "height": 900,
     "modified_at": "2019-05-02T00:00:00", "labels": ["boat", "sea"]},
    {"paths": ["/e/c (2).webp"], "format": "WEBP", "width": 640, "height": 480, "camera": "Canon EOS 5D",
     "taken_at": "2020-01-01T00:00:00", "modified_at": "2019-05-15T00:00:00", "location": {"lat": 52.0, "lon": 4.3}},
    {"paths": ["/e/d*.gif"], "format": "GIF"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (Filters(), {0, 1, 2, 3}),
        (Filters(path="*/dcim/*"), {0, 1}),
        (Filters(path="/e/?[[]1].png"), {1}),
        (Filters(path="/e/[!a-c]*"), {0, 1, 3}),
        (Filters(path="*(2).w?bp"), {2}),
        (Filters(path="dcim"), set()),
        (Filters(since="2019-05", until="2019-05"), {0, 1}),
        (Filters(until="2019-05-30"), {1}),
        (Filters(since="2020"), {2}),
        (Filters(camera="nikon"), {0}),
        (Filters(camera="canon*5d"), {2}),
        (Filters(formats=("jpg", "png")), {0, 1}),
        (Filters(min_size=480), {0, 2}),
        (Filters(labels=("sea", "sky")), {1}),
        (Filters(near=Place(52.37, 4.89, 5)), {0}),
        (Filters(near=Place.parse("52.2,4.6,60")), {0, 2}),
        (Filters(raw={"range": {"width": {"lt": 100}}}), {1}),
        (Filters(path="/e/*", camera="nikon", since="2019", formats=("JPEG",)), {0}),
        (Filters(camera="nikon", labels=("sea",)), set()),
    ],
)
def test_filters_say_what_is_looked_at_in_both_modes(
    client: Elasticsearch, case: str, filters: Filters, rows: set[int]
) -> None:
    ids = store(client, case, features(42, 4), FACTS, vector_index="hnsw")
    searcher = Searcher(client, case, "net", never)
    exact, approximate = (
        ranked(searcher, features(43, 1), "cosine", 10, filters=filters, mode=mode)
        for mode in (Mode.EXACT, Mode.APPROXIMATE)
    )
    assert {hit.sha256 for hit in exact.hits} == {ids[row] for row in rows}
    assert exact.hits == approximate.hits
    assert (exact.matched, exact.collection_size) == (len(rows), 4)


def test_a_pattern_means_the_path_as_it_is_shown(client: Elasticsearch, case: str) -> None:
    paths = [r"/e/a\\b.jpg", r"/e/a\x09b.jpg", "/e/a*b.jpg", "/e/aXb.JPG"]
    ids = store(client, case, features(49, 4), [{"paths": [path]} for path in paths])
    searcher = Searcher(client, case, "net", never)
    found = {
        pattern: {
            paths[ids.index(hit.sha256)]
            for hit in ranked(searcher, features(50, 1), "cosine", 9, filters=Filters(path=pattern)).hits
        }
        for pattern in (r"/e/a\\b*", r"/E/A\x09B.jpg", "/e/a?b.jpg", "/e/a[*]b.jpg", "*b.jpg")
    }
    assert list(found.values()) == [{paths[0]}, {paths[1]}, {paths[2], paths[3]}, {paths[2]}, set(paths)]


def test_a_graph_that_does_not_serve_the_distance_is_warned_of(
    client: Elasticsearch, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    store(client, case, features(51, 60), vector_index="hnsw")
    searcher = Searcher(client, case, "net", never)
    query = features(52, 1)
    for name, said in {"euclidean": "0.97 of the first 50 hits on average and 0.76", "manhattan": "0.92"}.items():
        ranking = ranked(searcher, query, name, 5, mode=Mode.APPROXIMATE)
        assert said in str(ranking.warning)
        assert ranking.as_dict()["warning"] == ranking.warning
        assert ranking.warning in caplog.messages
        assert str(ranking_table(ranking).caption).endswith(str(ranking.warning))
    assert ranked(searcher, query, "modified", 5, mode=Mode.APPROXIMATE).warning is None
    assert ranked(searcher, query, "manhattan", 5).warning is None
    store_candidates(client, case, "net", {"manhattan": 50}, {"manhattan": {"k": 20, "mean": 0.995, "least": 0.85}})
    again = ranked(Searcher(client, case, "net", never), query, "manhattan", 5, mode=Mode.APPROXIMATE)
    assert "on this case it found 0.99 of the first 20 hits on average and 0.85 at worst" in str(again.warning)


def test_a_narrow_filter_never_leaves_an_approximate_query_short(client: Elasticsearch, case: str) -> None:
    collection = features(44, 3000)
    far = np.argsort(DISTANCES["cosine"].between(collection[:1], collection)[0])[-25:]
    facts = [{"labels": ["rare"] if row in far else []} for row in range(3000)]
    ids = store(client, case, collection, facts, vector_index="bbq_hnsw")
    ranking = ranked(
        Searcher(client, case, "net", never), collection[:1], "cosine", 20,
        filters=Filters(labels=("rare",)), mode=Mode.APPROXIMATE, candidates=20,
    )  # fmt: skip
    assert len(ranking.hits) == 20
    assert {hit.sha256 for hit in ranking.hits} <= {ids[row] for row in far}


def test_a_broken_query_of_elasticsearch_is_refused_by_it(client: Elasticsearch, case: str) -> None:
    store(client, case, features(45, 5))
    with pytest.raises(ApiError):
        ranked(
            Searcher(client, case, "net", never), features(46, 1), "cosine", 5, filters=Filters(raw={"nonsense": {}})
        )


def test_a_reference_is_named_by_its_content_and_looked_for_in_its_variants(
    client: Elasticsearch, case: str, index: Index, embedder: Embedder, tmp_path: Path
) -> None:
    for seed in range(8):
        save_picture(tmp_path / f"{seed}.png", seed)
    with Image.open(tmp_path / "5.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    index(tmp_path)
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    plain = searcher.reference(tmp_path / "5.png")
    named = searcher.reference(plain.sha256)
    assert (named.path, named.sha256) == (str(tmp_path / "5.png"), plain.sha256)
    np.testing.assert_array_equal(named.vectors, plain.vectors)
    for name in (tmp_path / "5.png", plain.sha256.upper()):
        augmented = searcher.reference(name, [Augmentation.FLIP])
        first, second, _ = searcher.rank(Query((augmented,), DISTANCES["cosine"], 3)).hits
        assert (Path(first.paths[0]).name, Path(second.paths[0]).name) == ("5.png", "mirrored.png")
        assert second.distance < 1e-4
    with pytest.raises(PictureError, match="holds no picture with the SHA-256"):
        searcher.reference("f" * 64)
    (tmp_path / "5.png").unlink()
    with pytest.raises(PictureError, match="can be read any more"):
        searcher.reference(plain.sha256, [Augmentation.GREY])


def test_recall_compares_with_the_exact_ranking_and_a_choice_is_kept_with_the_case(
    client: Elasticsearch, case: str
) -> None:
    store(client, case, features(47, 500), vector_index="bbq_hnsw")
    searcher = Searcher(client, case, "net", never)
    sample = sampled_references(client, searcher, 6)
    rows = measure_recall(searcher, sample, DISTANCES["modified"], k=10, candidates=[10, 500])
    assert [row.candidates for row in rows] == [10, 500]
    assert 0.3 < rows[0].recall <= rows[1].recall == rows[1].least == 1.0
    assert sufficient(rows, 1.0) in {10, 500}
    assert sufficient([rows[0]], 1.1) is None
    store_candidates(client, case, "net", {"modified": 123})
    store_candidates(client, case, "net", {"cosine": 77})
    again = Searcher(client, case, "net", never)
    assert again.embedding.candidates == {"modified": 123, "cosine": 77}
    assert ranked(again, features(48, 1), "modified", 10, mode=Mode.APPROXIMATE).candidates == 123


@pytest.mark.usefixtures("command_environment")
def test_the_example_for_the_library_runs(case: str, index: Index, tmp_path: Path) -> None:
    for seed in range(15):
        save_picture(tmp_path / f"{seed}.png", seed)
    index(tmp_path)
    example = Path(__file__).resolve().parents[2] / "examples" / "similar.py"
    done = subprocess.run(
        [sys.executable, example, case, MODEL, tmp_path / "5.png"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("15 pictures ranked")
    assert lines[1].split()[1:] == ["0.000000", "PNG", str(tmp_path / "5.png")]
    assert lines[-1] == "all: 15"
