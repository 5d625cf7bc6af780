"""The rights in ``kibana/roles.json`` suffice, and nothing more is allowed: on a real node, with real API keys."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from elastic_transport import ObjectApiResponse
from elasticsearch import AuthorizationException, Elasticsearch
from pydantic import SecretStr

from simquery.cli.main import cli
from simquery.cluster import connect, explain
from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.errors import AuthenticationError, ClusterError
from simquery.evaluation.dataset import read_dataset
from simquery.evaluation.times import time_elasticsearch
from simquery.indexer import Counts, Indexer, Verifier, check_folder, scan
from simquery.indexer.filesystems import filesystems
from simquery.kibana import roles
from simquery.mappings import (
    embedding_facts,
    files_index,
    images_index,
    install_templates,
    marks_are_stamped,
    marks_index,
    open_index,
    results_index,
    store_candidates,
    stored_filesystems,
)
from simquery.query import Query, Ranking, Searcher
from simquery.query.marks import Verdict, mark_hits, read_review
from simquery.query.results import save_ranking
from simquery.settings import Settings
from tests.conftest import save_picture
from tests.server.conftest import MODEL

Connect = Callable[[str], Elasticsearch]


@pytest.fixture
def key_of(client: Elasticsearch, cluster: Settings) -> Iterator[Callable[[str], Settings]]:
    """Settings with an API key that has the rights of a role."""
    made = []

    def settings(role: str) -> Settings:
        rights = {name: value for name, value in roles()[role].items() if name != "applications"}
        key = client.security.create_api_key(name=f"test-{role}", role_descriptors={role: rights})
        made.append(key["id"])
        return cluster.model_copy(update={"username": None, "password": None, "api_key": SecretStr(key["encoded"])})

    yield settings
    client.security.invalidate_api_key(ids=made)


@pytest.fixture
def as_role(key_of: Callable[[str], Settings]) -> Iterator[Connect]:
    opened = []

    def connected(role: str) -> Elasticsearch:
        opened.append(connect(key_of(role)))
        return opened[-1]

    yield connected
    for each in opened:
        each.close()


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    for seed in range(4):
        save_picture(tmp_path / "evidence" / f"{seed}.png", seed)
    return tmp_path / "evidence"


def index(client: Elasticsearch, case: str, embedder: Embedder, folder: Path) -> Counts:
    indexer = Indexer(client, case, embedder)
    indexer.index(scan(check_folder(folder)), lambda _: None)
    return indexer.counts


def rank(client: Elasticsearch, case: str, embedder: Embedder, picture: Path) -> Ranking:
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    return searcher.rank(Query((searcher.reference(picture),), DISTANCES["modified"], 3))


def test_the_indexers_key_indexes_queries_and_saves(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    indexer = as_role("simquery-indexer")
    assert index(indexer, case, embedder, evidence).indexed == 4
    ranking = rank(indexer, case, embedder, evidence / "2.png")
    assert ranking.hits[0].paths == (str(evidence / "2.png"),)
    saved = save_ranking(indexer, ranking)
    own = {"bool": {"filter": [{"term": {"query": saved.query}}, {"exists": {"field": "rank"}}]}}
    assert client.count(index=results_index(), query=own)["count"] == 3
    client.delete_by_query(index=results_index(), query={"term": {"case": case}}, refresh=True)


def test_the_indexers_key_stores_what_recall_and_evaluations_find(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    indexer = as_role("simquery-indexer")
    store_candidates(indexer, case, MODEL, {"cosine": 120})
    assert embedding_facts(client, case, MODEL).candidates == {"cosine": 120}
    for kind in ("measures", "timings"):
        assert client.indices.exists(index=open_index(indexer, kind))
        open_index(indexer, kind)


def test_the_indexers_key_stores_the_filesystems_of_an_evidence_folder(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    indexer = Indexer(as_role("simquery-indexer"), case, embedder)
    indexer.index(scan(check_folder(evidence)), lambda _: None)
    indexer.record_gone(evidence)
    assert stored_filesystems(client, case, evidence) == filesystems(evidence) != {}


def test_without_templates_indices_are_the_same(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    client.indices.delete_index_template(name="simquery-files,simquery-images")
    try:
        index(as_role("simquery-indexer"), case, embedder, evidence)
        without = client.indices.get(index=f"simquery-*-{case}*", flat_settings=True).body
        client.indices.delete(index=",".join(without))
    finally:
        install_templates(client)
    index(client, case, embedder, evidence)
    for name, body in client.indices.get(index=f"simquery-*-{case}*", flat_settings=True).body.items():
        assert without[name]["mappings"] == body["mappings"]
        own = {"index.creation_date", "index.uuid", "index.provided_name"}
        before, after = without[name]["settings"], body["settings"]
        assert {key: before[key] for key in before.keys() - own} == {key: after[key] for key in after.keys() - own}


def test_the_indexers_key_reaches_no_other_index_and_no_security(as_role: Connect) -> None:
    indexer = as_role("simquery-indexer")
    with pytest.raises(AuthorizationException):
        indexer.index(index="somebody-elses", document={})
    with pytest.raises(AuthorizationException):
        indexer.security.get_user()
    with pytest.raises(AuthorizationException):
        indexer.indices.put_index_template(name="simquery-files", index_patterns=["simquery-files-*"])


def test_a_reader_queries_and_writes_nothing(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    reader = as_role("simquery-reader")
    ranking = rank(reader, case, embedder, evidence / "1.png")
    assert len(ranking.hits) == 3
    saved = save_ranking(client, ranking).query
    assert read_review(reader, saved).hits == 3
    for write in (
        lambda: save_ranking(reader, ranking),
        lambda: mark_hits(reader, saved, [1], Verdict.RELEVANT),
        lambda: index(reader, case, embedder, evidence.parent),
    ):
        with pytest.raises(AuthorizationException) as raised:
            write()
        explained = explain(raised.value, "http://the-cluster")
        assert isinstance(explained, AuthenticationError)
        assert "does not allow this with the credentials given" in str(explained)
    client.delete_by_query(index=results_index(), query={"term": {"case": case}}, refresh=True)


def test_an_analyst_saves_and_marks_and_changes_nothing(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    open_index(client, "results")
    open_index(client, "marks")
    index(client, case, embedder, evidence)
    analyst = as_role("simquery-analyst")
    saved = save_ranking(analyst, rank(analyst, case, embedder, evidence / "1.png"))
    mark_hits(analyst, saved.query, [1], Verdict.RELEVANT)
    (mark,) = client.search(index=marks_index(), query={"term": {"query": saved.query}})["hits"]["hits"]
    for name, document in ((results_index(), f"{saved.query}-1"), (marks_index(), mark["_id"])):
        with pytest.raises(AuthorizationException):
            analyst.delete(index=name, id=document)
        with pytest.raises(AuthorizationException):
            analyst.update(index=name, id=document, doc={"note": "changed"})
        with pytest.raises(AuthorizationException):
            analyst.index(index=name, id=document, document=mark["_source"])
        with pytest.raises(AuthorizationException):
            analyst.indices.delete(index=name)
    with pytest.raises(AuthorizationException):
        index(analyst, case, embedder, evidence.parent)
    client.delete_by_query(index=f"{results_index()},{marks_index()}", query={"term": {"case": case}}, refresh=True)


def refused(bulk: Callable[[], ObjectApiResponse[Any]]) -> bool:
    """Whether every item of a bulk request, or all of it, is refused for lack of rights."""
    try:
        items = bulk()["items"]
    except AuthorizationException:
        return True
    return all(answer["status"] == 403 for item in items for answer in item.values())


def test_the_indexers_key_rewrites_and_deletes_nothing_that_was_recorded(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    saved = save_ranking(client, rank(client, case, embedder, evidence / "1.png")).query
    mark_hits(client, saved, [1], Verdict.RELEVANT)
    key = as_role("simquery-indexer")
    results, marks = results_index(), marks_index()
    (mark,) = client.search(index=marks, query={"term": {"query": saved}})["hits"]["hits"]
    client.indices.refresh(index=files_index(case))
    (entry, *_) = client.search(index=files_index(case))["hits"]["hits"]
    picture = client.search(index=images_index(case, MODEL))["hits"]["hits"][0]["_id"]
    assert refused(partial(key.bulk, index=marks, operations=[{"create": {}}, mark["_source"]]))
    recorded = {results: f"{saved}-1", marks: mark["_id"]}
    for name, document in recorded.items():
        for again in (
            [{"index": {"_id": document}}, {"rank": 9}],
            [{"update": {"_id": document}}, {"doc": {"rank": 9}}],
        ):
            assert refused(partial(key.bulk, index=name, operations=again))
    for name, document in (recorded | {files_index(case): entry["_id"], images_index(case, MODEL): picture}).items():
        assert refused(partial(key.bulk, index=name, operations=[{"delete": {"_id": document}}]))
        with pytest.raises(AuthorizationException):
            key.delete_by_query(index=name, query={"match_all": {}})
        with pytest.raises(AuthorizationException):
            key.indices.delete(index=name)
        with pytest.raises(AuthorizationException):
            key.indices.put_settings(index=name, settings={"index.final_pipeline": "_none"})
    for name in (results, marks, files_index(case)):
        with pytest.raises(AuthorizationException):
            key.update_by_query(index=name, query={"match_all": {}})
        with pytest.raises(AuthorizationException):
            key.indices.put_mapping(index=name, meta={"schema": 0})
    with pytest.raises(AuthorizationException):
        key.ingest.put_pipeline(id="simquery-marks", processors=[])
    client.delete_by_query(index=f"{results},{marks}", query={"term": {"case": case}}, refresh=True)


def test_an_analyst_cannot_stop_others_from_marking(as_role: Connect, client: Elasticsearch) -> None:
    names = [open_index(client, kind) for kind in ("results", "marks")]
    before = [client.indices.get(index=name).body for name in names]
    analyst = as_role("simquery-analyst")
    for name in names:
        with pytest.raises(AuthorizationException):
            analyst.indices.put_mapping(index=name, meta={"schema": 0})
        with pytest.raises(AuthorizationException):
            analyst.indices.put_mapping(index=name, properties={"more": {"type": "keyword"}})
        with pytest.raises(AuthorizationException):
            analyst.indices.put_settings(index=name, settings={"index.final_pipeline": "_none"})
        with pytest.raises(AuthorizationException):
            analyst.delete_by_query(index=name, query={"match_all": {}})
    with pytest.raises(AuthorizationException):
        analyst.ingest.put_pipeline(id="simquery-marks", processors=[])
    with pytest.raises(AuthorizationException):
        analyst.indices.put_index_template(name="simquery-marks", index_patterns=["simquery-marks"])
    assert [client.indices.get(index=name).body for name in names] == before


def test_a_mark_says_what_the_server_knows_whatever_the_client_says(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    saved = save_ranking(client, rank(client, case, embedder, evidence / "1.png")).query
    analyst = as_role("simquery-analyst")
    mark_hits(client, saved, [1], Verdict.RELEVANT)
    (real,) = client.search(index=marks_index(), query={"term": {"query": saved}})["hits"]["hits"]
    forged = real["_source"] | {"at": "2035-01-01T00:00:00Z", "by": "judge", "mark": "irrelevant"}
    analyst.bulk(index=marks_index(), operations=[{"create": {}}, forged], pipeline="_none", refresh="wait_for")
    mark_hits(client, saved, [1], Verdict.REVIEW)
    first, second, third = read_review(analyst, saved).marks
    assert second.by == "elastic, API key 'test-simquery-analyst'"
    assert second.at < "2035"
    assert read_review(analyst, saved).current[1] == third
    assert (first.mark, second.mark, third.mark) == (Verdict.RELEVANT, Verdict.IRRELEVANT, Verdict.REVIEW)
    client.delete_by_query(index=f"{results_index()},{marks_index()}", query={"term": {"case": case}}, refresh=True)


def test_marks_that_the_server_would_not_stamp_are_refused(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    saved = save_ranking(client, rank(client, case, embedder, evidence / "1.png")).query
    analyst = as_role("simquery-analyst")
    client.indices.put_settings(index=open_index(client, "marks"), settings={"index.final_pipeline": None})
    with pytest.raises(ClusterError, match="administrator must install"):
        mark_hits(analyst, saved, [1], Verdict.RELEVANT)
    assert not read_review(client, saved).marks
    mark_hits(client, saved, [1], Verdict.RELEVANT)  # an administrator's credentials mend it
    assert marks_are_stamped(analyst)
    mark_hits(analyst, saved, [1], Verdict.RELEVANT)
    client.delete_by_query(index=f"{results_index()},{marks_index()}", query={"term": {"case": case}}, refresh=True)


def test_the_indexers_key_times_queries_and_leaves_no_index_behind(
    as_role: Connect, client: Elasticsearch, tmp_path: Path
) -> None:
    for seed in range(4):
        save_picture(tmp_path / "classes" / "ab"[seed % 2] / f"{seed}.png", seed)
    dataset = read_dataset(tmp_path / "classes", ())
    vectors = np.random.default_rng(1).random((4, 16), dtype=np.float32)
    before = set(client.indices.get(index="simquery-*").body)
    timings = time_elasticsearch(
        as_role("simquery-indexer"), "net", dataset, vectors, rows=[0], distances=[DISTANCES["cosine"]], runs=1
    )
    assert [timing.count for timing in timings] == [4]
    assert set(client.indices.get(index="simquery-*").body) == before


def test_a_reader_verifies(
    as_role: Connect, client: Elasticsearch, case: str, embedder: Embedder, evidence: Path
) -> None:
    index(client, case, embedder, evidence)
    client.indices.refresh(index=f"simquery-*-{case}*")
    report = Verifier(as_role("simquery-reader"), case).verify([evidence], rehash=False, progress=lambda _: None)
    assert (report.files, report.differences) == (4, [])


def test_the_commands_work_with_a_readers_key(
    key_of: Callable[[str], Settings],
    client: Elasticsearch,
    case: str,
    embedder: Embedder,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index(client, case, embedder, evidence)
    settings = key_of("simquery-reader")
    assert settings.api_key is not None
    monkeypatch.setenv("SIMQUERY_URL", str(settings.url))
    monkeypatch.setenv("SIMQUERY_CA_FILE", str(settings.ca_file))
    monkeypatch.setenv("SIMQUERY_API_KEY", settings.api_key.get_secret_value())

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    status = json.loads(run("status", "--json").stdout)
    assert {"case": case, "model": MODEL, "pictures": 4} in status["cases"]
    found = json.loads(run("query", evidence / "0.png", "--case", case, "--model", MODEL, "--json").stdout)
    assert found["hits"][0]["paths"] == [str(evidence / "0.png")]
    refused = run("index", evidence.parent, "--case", case, "--model", MODEL)
    assert isinstance(refused.exception, AuthorizationException | AuthenticationError)
