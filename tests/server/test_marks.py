"""Marks of saved queries' hits: added by whom and when, never changed, and counted by the latest."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from elasticsearch import Elasticsearch

from simquery.cli.main import cli
from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.errors import QueryError
from simquery.indexer import Counts
from simquery.mappings import marks_index, results_index
from simquery.query import Query, Searcher
from simquery.query.marks import Verdict, mark_hits, read_review
from simquery.query.results import save_ranking
from simquery.settings import Settings
from tests.conftest import save_picture
from tests.server.conftest import MODEL


@pytest.fixture
def query(
    client: Elasticsearch, case: str, index: Callable[[Path], Counts], embedder: Embedder, tmp_path: Path
) -> Iterator[str]:
    """Id of a saved query with five hits."""
    for seed in range(5):
        save_picture(tmp_path / "evidence" / f"{seed}.jpg", seed)
    index(tmp_path / "evidence")
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    reference = searcher.reference(save_picture(tmp_path / "sought.png", 99))
    yield save_ranking(client, searcher.rank(Query((reference,), DISTANCES["cosine"], 5))).query
    for name in (results_index(), marks_index()):
        client.delete_by_query(index=name, query={"term": {"case": case}}, refresh=True, ignore_unavailable=True)


def documents(client: Elasticsearch, index: str, query: str) -> list[dict[str, Any]]:
    own = {"bool": {"filter": [{"term": {"query": query}}, {"exists": {"field": "rank"}}]}}
    answer = client.search(index=index, query=own, sort=["rank"], size=100)
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_a_mark_says_what_when_and_by_whom(client: Elasticsearch, cluster: Settings, query: str) -> None:
    before = datetime.now(UTC)
    mark_hits(client, query, [2], Verdict.RELEVANT, note="the same kitchen")
    (mark,) = read_review(client, query).marks
    assert (mark.rank, mark.mark, mark.note, mark.by) == (2, "relevant", "the same kitchen", cluster.username)
    assert before - timedelta(seconds=1) < datetime.fromisoformat(mark.at) < datetime.now(UTC)
    assert "@" in mark.account
    hit = documents(client, results_index(), query)[1]
    (document,) = documents(client, marks_index(), query)
    copied = ("title", "case", "model", "distance", "rank", "value", "sha256", "paths", "thumbnail", "references")
    assert {name: document[name] for name in copied} == {name: hit[name] for name in copied}


def test_the_latest_mark_counts_and_those_before_it_stay(client: Elasticsearch, query: str) -> None:
    hits = documents(client, results_index(), query)
    mark_hits(client, query, [1, 2, 4], Verdict.RELEVANT)
    mark_hits(client, query, [3], Verdict.REVIEW)
    mark_hits(client, query, [4], Verdict.IRRELEVANT, note="another car")
    review = read_review(client, query)
    assert {rank: str(mark.mark) for rank, mark in review.current.items()} == {
        1: "relevant",
        2: "relevant",
        3: "review",
        4: "irrelevant",
    }
    assert [(mark.rank, str(mark.mark)) for mark in review.marks if mark.rank == 4] == [
        (4, "relevant"),
        (4, "irrelevant"),
    ]
    assert (review.hits, review.reviewed, review.precision) == (5, 3, pytest.approx(2 / 3))
    assert documents(client, results_index(), query) == hits


def test_the_precision_of_nothing_reviewed_is_unknown(client: Elasticsearch, query: str) -> None:
    mark_hits(client, query, [1], Verdict.REVIEW)
    review = read_review(client, query)
    assert (review.reviewed, review.precision) == (0, None)


def test_a_reference_that_is_found_again_counts_for_nothing(
    client: Elasticsearch, case: str, query: str, embedder: Embedder
) -> None:
    first = documents(client, results_index(), query)[0]
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    reference = searcher.reference(first["sha256"])
    again = save_ranking(client, searcher.rank(Query((reference,), DISTANCES["cosine"], 5))).query
    mark_hits(client, again, [1, 2], Verdict.RELEVANT)
    mark_hits(client, again, [3], Verdict.IRRELEVANT)
    review = read_review(client, again)
    assert [mark.is_reference for mark in review.marks] == [True, False, False]
    assert (review.hits, review.to_review, review.reviewed, review.precision) == (5, 4, 2, 0.5)


def test_a_mark_has_the_facts_of_its_hit(client: Elasticsearch, query: str) -> None:
    mark_hits(client, query, [2], Verdict.RELEVANT)
    hit = documents(client, results_index(), query)[1]
    (mark,) = documents(client, marks_index(), query)
    own = {"at", "note", "version", "k", "collection_size"}
    assert {name: mark.get(name) for name in hit if name not in own} == {
        name: value for name, value in hit.items() if name not in own
    }
    assert "format" in mark


def test_marks_of_what_is_not_saved_are_refused_and_nothing_is_marked(client: Elasticsearch, query: str) -> None:
    with pytest.raises(QueryError, match=f"Query '{query}' has 5 hits; there is none of rank 6"):
        mark_hits(client, query, [1, 6], Verdict.RELEVANT)
    assert read_review(client, query).marks == ()
    for refused in (lambda: mark_hits(client, "no-such", [3], Verdict.REVIEW), lambda: read_review(client, "no-such")):
        with pytest.raises(QueryError, match="There is no saved query 'no-such'"):
            refused()


def test_what_a_key_marks_bears_its_name(client: Elasticsearch, cluster: Settings, query: str) -> None:
    key = client.security.create_api_key(name="lab-3")
    try:
        mark_hits(client.options(api_key=key["encoded"]), query, [1], Verdict.RELEVANT)
    finally:
        client.security.invalidate_api_key(ids=[key["id"]])
    assert read_review(client, query).marks[0].by == f"{cluster.username}, API key 'lab-3'"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["mark", *arguments])


@pytest.mark.usefixtures("command_environment")
def test_the_command_marks_ranges_and_lists_what_was_said(query: str) -> None:
    marked = run(query, "1", "3-5", "--as", "relevant", "--note", "[bold]")
    assert (marked.exit_code, marked.stdout) == (0, "")
    assert "4 of 5 hits reviewed: 4 relevant, 0 irrelevant, precision so far 1.000; 0 for review" in marked.stderr
    changed = json.loads(run(query, "3", "--as", "irrelevant", "--json").stdout)
    assert (changed["relevant"], changed["irrelevant"], changed["review"], changed["reviewed"]) == (3, 1, 0, 4)
    assert changed["precision"] == 0.75
    said = [(mark["rank"], mark["mark"], mark["current"]) for mark in changed["marks"]]
    assert said == [
        (1, "relevant", True),
        (3, "relevant", False),
        (4, "relevant", True),
        (5, "relevant", True),
        (3, "irrelevant", True),
    ]
    listed = run(query).stdout
    assert listed.count("[bold]") == 4
    assert listed.count("irrelevant") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1"], "give their ranks and --as"),
        (["--as", "relevant"], "give their ranks and --as"),
        (["--note", "why"], "--note only works with ranks and --as"),
        (["0", "--as", "review"], "'0' is neither a rank"),
        (["5-3", "--as", "review"], "'5-3' is neither a rank"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], message: str) -> None:
    refused = run("20260504T100000-abcdef", *arguments)
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.split())
