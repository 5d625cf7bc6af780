"""The dashboard Results on what the real commands saved and marked, with filters on."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from simquery.case import Case, open_case
from simquery.distances import DISTANCES
from simquery.kibana.objects import vega_specs
from simquery.mappings import marks_index, results_index
from simquery.settings import Settings
from tests.browser.rendering import CannotDrawError, answered, browser, drawn_page, install_packages, page
from tests.conftest import save_picture
from tests.server.lens_tables import Row, rows
from tests.server.test_panels import Sections

REVIEWED = "simquery-results-reviewed"


@pytest.fixture
def opened(client: Elasticsearch, cluster: Settings, case: str, tmp_path: Path) -> Iterator[Case]:
    """A case with twelve pictures: half of them JPEG, half PNG."""
    for seed, suffix in product(range(6), ("jpg", "png")):
        save_picture(tmp_path / "evidence" / f"{seed}.{suffix}", 10 * seed + (suffix == "png"))
    with open_case(case, settings=cluster) as opened:
        opened.index(tmp_path / "evidence")
        yield opened
    both = f"{results_index()},{marks_index()}"
    client.delete_by_query(index=both, query={"term": {"case": case}}, refresh=True)


def reference(tmp_path: Path) -> Path:
    return save_picture(tmp_path / "sought.png", 99)


def table(client: Elasticsearch, name: str, opened: Case, *clauses: dict[str, Any]) -> list[Row]:
    return rows(client, f"simquery-results-{name}", [{"term": {"case": opened.name}}, *clauses])


def reviewed(client: Elasticsearch, opened: Case, tmp_path: Path, filters: dict[str, list[dict[str, Any]]]) -> Sections:
    """The panel as it is drawn under some filters, in a section for each."""
    try:
        browser()
        install_packages()
    except CannotDrawError as error:
        pytest.skip(str(error))
    own = {"term": {"case": opened.name}}
    spec = vega_specs()[REVIEWED]
    return Sections(
        drawn_page(tmp_path, page({name: answered(client, spec, [own, *f]) for name, f in filters.items()}))
    )


def step_clock_forward(client: Elasticsearch, query: str) -> None:
    """Leave the marks of a query as they are when the server's clock was wrong, and was then set back."""
    settings = {"index.final_pipeline": "_none"}
    try:
        client.indices.put_settings(index=marks_index(), settings=settings)
        script = {"source": "ctx._source.at = '2035-01-01T00:00:00Z'"}
        client.update_by_query(index=marks_index(), query={"term": {"query": query}}, script=script, refresh=True)
    finally:
        client.indices.put_settings(index=marks_index(), settings={"index.final_pipeline": "simquery-marks"})


def test_side_by_side_shows_the_six_newest_queries_at_every_rank(
    client: Elasticsearch, opened: Case, tmp_path: Path
) -> None:
    sought = reference(tmp_path)
    saved = [
        opened.save(opened.query(sought, distance=name, k=k)).query
        # Older queries are longer, so that they alone have hits at the last ranks.
        for k, name in [*((12, name) for name in DISTANCES), (5, "cosine"), (4, "modified"), (3, "euclidean")]
    ]
    shown = table(client, "side-by-side", opened)
    columns = list(dict.fromkeys(row["query"].partition(" · ")[0] for row in shown))
    assert columns == saved[:-7:-1]
    lengths = {query: len([row for row in shown if row["query"].startswith(query)]) for query in columns}
    assert list(lengths.values()) == [3, 4, 5, 12, 12, 12]
    assert all(row["hit"] and row["distance"] is not None for row in shown)


def test_a_hit_is_one_row_with_the_mark_that_the_server_stored_last(
    client: Elasticsearch, opened: Case, tmp_path: Path
) -> None:
    query = opened.save(opened.query(reference(tmp_path), k=5), note="of the query").query
    opened.mark(query, [1, 2], "relevant", note="why")
    step_clock_forward(client, query)
    opened.mark(query, [2], "irrelevant")
    shown = table(client, "hits", opened)
    assert [(row["rank"], row["mark"], row["note"]) for row in shown] == [
        (1, "relevant", "why"),
        (2, "irrelevant", None),
        (3, None, None),
        (4, None, None),
        (5, None, None),
    ]
    current = {rank: str(mark.mark) for rank, mark in opened.review(query).current.items()}
    assert {row["rank"]: row["mark"] for row in shown if row["mark"]} == current
    assert all(row["picture"] and row["paths"] for row in shown)


def test_a_filter_by_a_fact_leaves_hits_their_marks(client: Elasticsearch, opened: Case, tmp_path: Path) -> None:
    query = opened.save(opened.query(reference(tmp_path), k=12)).query
    opened.mark(query, range(1, 13), "relevant")
    shown = table(client, "hits", opened, {"term": {"format": "PNG"}})
    assert [row["mark"] for row in shown] == ["relevant"] * 6


def test_how_far_a_query_is_reviewed_is_true_under_any_filter(
    client: Elasticsearch, opened: Case, tmp_path: Path
) -> None:
    query = opened.save(opened.query(reference(tmp_path), k=10)).query
    opened.mark(query, range(1, 7), "relevant")
    opened.mark(query, [5, 6], "irrelevant")
    opened.mark(query, [7], "review")
    filters: dict[str, list[dict[str, Any]]] = {
        "none": [],
        "query": [{"term": {"query": query}}],
        "relevant": [{"term": {"mark": "relevant"}}],
        "changed": [{"bool": {"must_not": [{"term": {"mark": "irrelevant"}}]}}],
        "first": [{"range": {"rank": {"lte": 5}}}],
        "format": [{"term": {"format": "PNG"}}],
    }
    drawn = reviewed(client, opened, tmp_path, filters)
    assert set(drawn.troubles.values()) == {""}
    said = {name: "\n".join(texts) for name, texts in drawn.texts.items()}
    for name in ("none", "query"):
        assert "6 of 10 reviewed, precision so far 0.667" in said[name]
    for name in ("relevant", "changed", "first", "format"):
        assert "not known, because a filter hides hits or marks" in said[name]
        assert "precision so far" not in said[name]


def test_a_reference_that_is_found_again_is_no_part_of_the_precision(
    client: Elasticsearch, opened: Case, tmp_path: Path
) -> None:
    query = opened.save(opened.query(tmp_path / "evidence" / "3.jpg", k=5)).query
    review = opened.mark(query, [1, 2], "relevant")
    opened.mark(query, [3], "irrelevant")
    drawn = reviewed(client, opened, tmp_path, {"none": []})
    assert review.marks[0].is_reference
    assert "2 of 4 reviewed, precision so far 0.500" in "\n".join(drawn.texts["none"])


def test_the_table_of_queries_says_mode_and_filters(client: Elasticsearch, opened: Case, tmp_path: Path) -> None:
    ranking = opened.query(reference(tmp_path), k=3, formats=("PNG",))
    opened.save(ranking)
    (row,) = table(client, "queries", opened)
    assert (row["mode"], row["hits"]) == ("exact", 3)
    assert row["what was asked"].endswith("only formats: PNG")
