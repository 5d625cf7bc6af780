"""The evaluation and the product judge the same rankings, and Kibana finds the figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from pydantic import SecretStr

import simquery
from simquery.cluster import connect
from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.evaluation.dataset import Dataset, read_dataset
from simquery.evaluation.documents import store
from simquery.evaluation.embeddings import embed_dataset
from simquery.evaluation.harness import Condition
from simquery.evaluation.measures import Found, parse_measures
from simquery.evaluation.run import THESIS_DISTANCES, Evaluation, Protocol, judge_networks
from simquery.evaluation.times import Timing, time_elasticsearch
from simquery.indexer import Counts
from simquery.kibana import roles
from simquery.mappings import case_indices, template
from simquery.query import Mode, Query, Searcher
from simquery.settings import Settings
from tests.server.conftest import MODEL

Index = Callable[[Path], Counts]
CLASSES = ("camera", "cup", "lamp", "pizza", "wrench")
MEASURES = parse_measures(["P@10", "IR@0.5", "IR@0.8", "nAUIRC", "AP"])


@pytest.fixture
def dataset(photos: Path, tmp_path: Path) -> Dataset:
    """Twelve photos of each of five classes."""
    lines = [f"{photo},{name}" for name in CLASSES for photo in sorted((photos / name).iterdir())[:12]]
    (tmp_path / "labels.csv").write_text("\n".join(["path,class", *lines]))
    return read_dataset(tmp_path / "labels.csv")


@pytest.fixture
def photo_folder(dataset: Dataset, tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    for picture in dataset.pictures:
        (folder / picture.sha256).write_bytes(picture.file.read_bytes())
    return folder


def never() -> Embedder:
    raise AssertionError("the network was asked for")


def evaluated(dataset: Dataset, cluster: Settings, client: Elasticsearch, case: str, tmp_path: Path) -> Evaluation:
    settings = cluster.model_copy(update={"case": case, "cache": tmp_path / "cache"})
    protocol = Protocol((MODEL,), measures=MEASURES, references=10, several=1, augment=False)
    return judge_networks(dataset, protocol, settings, client=client)


def test_what_a_query_returns_gets_the_measures_that_the_harness_says(
    dataset: Dataset,
    photo_folder: Path,
    cluster: Settings,
    client: Elasticsearch,
    case: str,
    index: Index,
    tmp_path: Path,
) -> None:
    index(photo_folder)
    results = evaluated(dataset, cluster, client, case, tmp_path).results
    assert not (tmp_path / "cache" / "embeddings").exists()  # all vectors came from the case
    searcher = Searcher(client, case, MODEL, never)
    labels = {picture.sha256: picture.labels for picture in dataset.pictures}
    for name in THESIS_DISTANCES:
        distance = DISTANCES[name]
        for query, values in zip(results.queries, results.values[Condition(MODEL, name)], strict=True):
            reference = searcher.reference(dataset.pictures[query.reference].file)
            hits = [
                hit
                for hit in searcher.rank(Query((reference,), distance, None, mode=Mode.EXACT)).hits
                if hit.sha256 != reference.sha256
            ]
            ranks = [rank for rank, hit in enumerate(hits, 1) if query.label in labels[hit.sha256]]
            found = Found(np.array(ranks, dtype=np.int64), 11, 59)
            assert [measure.of(found) for measure in MEASURES] == pytest.approx(values.tolist())


def test_vectors_of_the_case_are_those_that_the_network_gives(
    dataset: Dataset,
    photo_folder: Path,
    client: Elasticsearch,
    case: str,
    index: Index,
    embedder: Embedder,
    tmp_path: Path,
) -> None:
    index(photo_folder)
    stored = embed_dataset(dataset, MODEL, never, tmp_path / "cache", client=client, case=case)
    fresh = embed_dataset(dataset, MODEL, lambda: embedder, tmp_path / "cache")
    assert stored.fingerprint == fresh.fingerprint
    np.testing.assert_allclose(stored.vectors, fresh.vectors, rtol=1e-4, atol=1e-5)


def test_a_case_that_holds_a_part_gives_that_part(
    dataset: Dataset,
    photo_folder: Path,
    client: Elasticsearch,
    case: str,
    index: Index,
    embedder: Embedder,
    tmp_path: Path,
) -> None:
    for picture in dataset.pictures[:20]:
        (photo_folder / picture.sha256).unlink()
    index(photo_folder)
    embedded = embed_dataset(dataset, MODEL, lambda: embedder, tmp_path / "cache", client=client, case=case)
    assert not embedded.reasons
    assert np.any(embedded.vectors, axis=1).all()
    (chunk,) = (tmp_path / "cache").rglob("*.npz")
    assert set(np.load(chunk)["contents"].tolist()) == {picture.sha256 for picture in dataset.pictures[:20]}


def test_measures_and_times_are_stored_for_kibana_and_once_only(
    dataset: Dataset, cluster: Settings, client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    evaluation = evaluated(dataset, cluster, client, case, tmp_path)
    run = evaluation.manifest["run"]
    timings = [Timing(MODEL, "cosine", "distance", "numpy", 0.25, 60), Timing(MODEL, None, "build", None, 1.5, 1)]
    query = {"term": {"run": run}}
    try:
        for _ in range(2):
            store(client, evaluation.results, timings, evaluation.manifest)
        assert client.count(index="simquery-measures", query=query)["count"] == 4 * (10 * len(MEASURES) + 20)
        hits = client.search(
            index="simquery-measures", query={"bool": {"filter": [query, {"term": {"measure": "AP"}}]}}
        )
        source = hits["hits"]["hits"][0]["_source"]
        fields = set(template("measures")["template"]["mappings"]["properties"])
        assert set(source) == fields - {"layer"}
        assert (source["dataset"], source["references"], source["augment"]) == ("labels.csv", 1, "none")
        means = client.search(
            index="simquery-measures",
            size=0,
            query={"bool": {"filter": [query, {"term": {"measure": "AP"}}, {"term": {"distance": "modified"}}]}},
            aggs={"mean": {"avg": {"field": "value"}}},
        )
        expected = evaluation.results.of(Condition(MODEL, "modified"), MEASURES[-1]).mean()
        assert means["aggregations"]["mean"]["value"] == pytest.approx(expected)
        point = {"bool": {"filter": [query, {"term": {"measure": "curve@0.50"}}, {"term": {"distance": "modified"}}]}}
        (half,) = client.search(index="simquery-measures", query=point)["hits"]["hits"]
        assert half["_source"]["value"] == pytest.approx(
            evaluation.results.curves[Condition(MODEL, "modified")][:, 49].mean()
        )
        assert not {"label", "reference"} & set(half["_source"])
        times = client.search(index="simquery-timings", query=query)["hits"]["hits"]
        assert {hit["_source"]["seconds"] for hit in times} == {0.25, 1.5}
        assert len(times) == 2
    finally:
        for index in ("simquery-measures", "simquery-timings"):
            client.delete_by_query(index=index, query=query, refresh=True)


def test_distances_are_timed_in_a_scratch_index_that_is_gone_afterwards(
    dataset: Dataset, client: Elasticsearch
) -> None:
    vectors = np.random.default_rng(1).random((len(dataset.pictures), 16), dtype=np.float32)
    before = set(client.indices.get(index="simquery-*").body)
    timings = list(
        time_elasticsearch(client, "net", dataset, vectors, rows=[0, 1], distances=list(DISTANCES.values()), runs=3)
    )
    assert len(timings) == 3 * len(DISTANCES)
    assert {(timing.engine, timing.stage, timing.count) for timing in timings} == {("elasticsearch", "distance", 60)}
    assert set(client.indices.get(index="simquery-*").body) == before


class Watched(list[int]):
    """Rows that call a function whenever one of them is asked for."""

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__([0, 1])
        self._look = look

    def __getitem__(self, place: Any) -> Any:
        self._look()
        return super().__getitem__(place)


def timed(client: Elasticsearch, dataset: Dataset, look: Callable[[], object] = lambda: None) -> list[Timing]:
    vectors = np.random.default_rng(1).random((len(dataset.pictures), 16), dtype=np.float32)
    distances = [DISTANCES["cosine"]]
    return time_elasticsearch(client, "net", dataset, vectors, rows=Watched(look), distances=distances, runs=2)


def scratch_indices(client: Elasticsearch) -> set[str]:
    return set(client.indices.get(index="simquery-scratch-*").body)


def test_the_scratch_index_never_looks_like_a_case(dataset: Dataset, client: Elasticsearch) -> None:
    before, cases = scratch_indices(client), [each["index"] for each in case_indices(client)]
    seen = []

    def look() -> None:
        seen.append((scratch_indices(client) - before, [each["index"] for each in case_indices(client)]))

    timed(client, dataset, look)
    assert seen
    assert all(len(scratch) == 1 and now == cases for scratch, now in seen)


def test_an_interrupted_timing_leaves_no_scratch_index(dataset: Dataset, client: Elasticsearch) -> None:
    before = scratch_indices(client)

    def interrupt() -> None:
        assert scratch_indices(client) > before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timed(client, dataset, interrupt)
    assert scratch_indices(client) == before


def test_the_indexers_key_is_enough_to_time_and_to_store(
    dataset: Dataset, cluster: Settings, client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    role, before = "simquery-indexer", scratch_indices(client)
    key = client.security.create_api_key(name="test-evaluation", role_descriptors={role: roles()[role]})
    limited = cluster.model_copy(update={"username": None, "password": None, "api_key": SecretStr(key["encoded"])})
    evaluation = evaluated(dataset, cluster, client, case, tmp_path)
    query = {"term": {"run": evaluation.manifest["run"]}}
    try:
        with connect(limited) as indexer:
            timings = timed(indexer, dataset)
            assert len(timings) == 2
            assert store(indexer, evaluation.results, timings, evaluation.manifest) > 2
        assert scratch_indices(client) == before
    finally:
        client.security.invalidate_api_key(ids=[key["id"]])
        client.delete_by_query(index="simquery-measures,simquery-timings", query=query, refresh=True)


def test_single_values_of_several_references_are_stored_on_request_and_their_means_otherwise(
    dataset: Dataset, cluster: Settings, client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    settings = cluster.model_copy(update={"case": case, "cache": tmp_path / "cache"})
    protocol = Protocol((MODEL,), ("cosine",), MEASURES, references=10, several=2, augment=False)
    evaluation = judge_networks(dataset, protocol, settings)
    run = {"term": {"run": evaluation.manifest["run"]}}
    pair = [run, {"term": {"references": 2}}, {"term": {"combine": "sum"}}, {"term": {"measure": "nAUIRC"}}]
    expected = evaluation.results.of(Condition(MODEL, "cosine", 2, "sum"), parse_measures(["nAUIRC"])[0])
    plain, others = 10 * len(MEASURES) + 20, 3 * len(MEASURES)  # 20 points of the curve; 1 sum, 2 sum, 2 mean
    try:
        for singles, count in ((False, plain + others), (True, plain + 10 * others)):
            assert store(client, evaluation.results, [], evaluation.manifest, singles=singles) == count
            answer = client.search(
                index="simquery-measures",
                size=0,
                query={"bool": {"filter": pair}},
                aggs={"mean": {"avg": {"field": "value"}}},
            )
            assert answer["aggregations"]["mean"]["value"] == pytest.approx(np.nanmean(expected))
            client.delete_by_query(index="simquery-measures", query=run, refresh=True)
    finally:
        client.delete_by_query(index="simquery-measures", query=run, refresh=True)


def test_the_public_function_reports_and_stores(
    dataset: Dataset, cluster: Settings, client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    settings = cluster.model_copy(update={"case": case, "cache": tmp_path / "cache"})
    outcome = simquery.evaluate(
        tmp_path / "labels.csv",
        settings=settings,
        distances=["cosine", "l1"],
        measures=["P@10", "AP"],
        references=5,
        several=1,
        augment=False,
        times=0,
        out=tmp_path / "out",
    )
    query = {"term": {"run": outcome.manifest["run"]}}
    try:
        assert outcome.report == tmp_path / "out" / "report.html"
        assert {each.condition.distance for each in outcome.summaries} == {"cosine", "manhattan"}
        assert client.count(index="simquery-measures", query=query)["count"] == outcome.documents == 2 * (5 * 2 + 20)
    finally:
        client.delete_by_query(index="simquery-measures", query=query, refresh=True)
