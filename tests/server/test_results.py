"""Saved queries: the documents in ``simquery-results``, and the rights to write them."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.errors import ClusterError
from simquery.indexer import Counts
from simquery.mappings import images_index, results_index
from simquery.pictures.augmentation import Augmentation
from simquery.pictures.thumbnails import THUMBNAIL_BYTES
from simquery.query import Combine, Filters, Mode, Query, Ranking, Searcher
from simquery.query.results import save_ranking
from tests.conftest import save_picture
from tests.server.conftest import MODEL


@pytest.fixture
def ranking(
    client: Elasticsearch, case: str, index: Callable[[Path], Counts], embedder: Embedder, tmp_path: Path
) -> Iterator[Ranking]:
    for seed in range(5):
        save_picture(tmp_path / "evidence" / f"{seed}.jpg", seed)
    (tmp_path / "evidence" / "copy.jpg").write_bytes((tmp_path / "evidence" / "3.jpg").read_bytes())
    index(tmp_path / "evidence")
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    references = [
        searcher.reference(path)
        for path in (tmp_path / "evidence" / "3.jpg", save_picture(tmp_path / "sought.png", 99))
    ]
    yield searcher.rank(Query(tuple(references), DISTANCES["cosine"], 4))
    client.delete_by_query(index=results_index(), query={"term": {"case": case}}, refresh=True, ignore_unavailable=True)


def saved(client: Elasticsearch, query: str) -> list[dict[str, Any]]:
    """Documents of the hits."""
    own = {"bool": {"filter": [{"term": {"query": query}}, {"exists": {"field": "rank"}}]}}
    answer = client.search(index=results_index(), query=own, sort=["rank"], size=100)
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def asked(client: Elasticsearch, query: str) -> dict[str, Any]:
    """The document that says what was asked."""
    source: dict[str, Any] = client.get(index=results_index(), id=query)["_source"]
    return source


def picture(text: str) -> Image.Image:
    content = base64.b64decode(text, validate=True)
    assert len(content) <= THUMBNAIL_BYTES
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.convert("RGB")


def test_every_hit_is_a_document_in_rank_order(client: Elasticsearch, ranking: Ranking, tmp_path: Path) -> None:
    result = save_ranking(client, ranking, note="the red car")
    documents = saved(client, result.query)
    assert result.without_thumbnail == 0
    assert [document["rank"] for document in documents] == [1, 2, 3, 4]
    assert [document["value"] for document in documents] == [hit.distance for hit in ranking.hits]
    assert [document["sha256"] for document in documents] == [hit.sha256 for hit in ranking.hits]
    first = documents[0]
    assert first["title"] == asked(client, result.query)["title"] == f"3.jpg and 1 more · {MODEL} · cosine"
    assert (first["case"], first["model"], first["distance"], first["mode"]) == (ranking.case, MODEL, "cosine", "exact")
    assert (first["k"], first["hits"], first["collection_size"]) == (4, 4, 5)
    assert (first["note"], first["format"], first["blurred"]) == ("the red car", "JPEG", False)
    assert [reference["path"] for reference in first["references"]] == [
        str(tmp_path / "evidence" / "3.jpg"),
        str(tmp_path / "sought.png"),
    ]
    by_content = {document["sha256"]: document for document in documents}
    assert sorted(by_content[ranking.references[0].sha256]["paths"]) == [
        str(tmp_path / "evidence" / "3.jpg"),
        str(tmp_path / "evidence" / "copy.jpg"),
    ]


def test_thumbnails_look_like_the_pictures(client: Elasticsearch, ranking: Ranking) -> None:
    for document in saved(client, save_ranking(client, ranking).query):
        with Image.open(document["paths"][0]) as original:
            small = picture(document["thumbnail"]).resize(original.size)
            assert np.abs(np.asarray(small, float) - np.asarray(original, float)).mean() < 12


def test_references_have_their_thumbnails_in_the_document_of_the_query_only(
    client: Elasticsearch, ranking: Ranking
) -> None:
    query = save_ranking(client, ranking).query
    assert all(picture(reference["thumbnail"]) for reference in asked(client, query)["references"])
    hits = saved(client, query)
    assert all("thumbnail" not in reference for document in hits for reference in document["references"])


def test_a_saved_query_says_all_that_was_asked(
    client: Elasticsearch, ranking: Ranking, embedder: Embedder, tmp_path: Path
) -> None:
    searcher = Searcher(client, ranking.case, MODEL, lambda: embedder)
    sought, other = (tmp_path / "evidence" / f"{seed}.jpg" for seed in (3, 4))
    question = Query(
        (searcher.reference(sought, [Augmentation.FLIP]), ranking.references[1]),
        DISTANCES["cosine"],
        3,
        Combine.MEAN,
        (searcher.reference(other),),
        Filters(formats=("JPEG",), min_size=10),
        2.5,
        candidates=400,
    )
    answer = replace(searcher.rank(question), mode=Mode.APPROXIMATE, candidates=400, matched=None, warning="recall .92")
    document = asked(client, save_ranking(client, answer).query)
    told = {
        name: document[name] for name in ("combine", "augment", "filters", "within", "candidates", "warning", "mode")
    }
    assert told == {
        "combine": "mean",
        "augment": ["flip"],
        "filters": ["formats: JPEG", "min size: 10"],
        "within": 2.5,
        "candidates": 400,
        "warning": "recall .92",
        "mode": "approximate",
    }
    assert [each["path"] for each in document["rejected"]] == [str(other)]
    assert picture(document["rejected"][0]["thumbnail"])
    assert "@" in document["account"]
    assert document["title"] == (
        f"3.jpg and 1 more · not 4.jpg · {MODEL} · cosine · approximate, 400 candidates · mean of the references"
        " · also flip · within 2.5 · only formats: JPEG; min size: 10"
    )
    assert document["asked"] == f"{document['query']} · {document['title']}"


def test_a_query_without_hits_is_saved_too(client: Elasticsearch, ranking: Ranking) -> None:
    document = asked(client, save_ranking(client, replace(ranking, hits=())).query)
    assert (document["hits"], document["to_review"]) == (0, 0)


def test_a_reference_that_is_found_again_is_no_hit_to_review(client: Elasticsearch, ranking: Ranking) -> None:
    hits = saved(client, save_ranking(client, ranking).query)
    found = {hit["sha256"]: hit["is_reference"] for hit in hits}
    assert [content for content, is_reference in found.items() if is_reference] == [ranking.references[0].sha256]
    assert {(hit["hits"], hit["to_review"]) for hit in hits} == {(4, 3)}


def test_references_are_named_by_what_their_paths_differ_in(client: Elasticsearch, ranking: Ranking) -> None:
    for document in saved(client, save_ranking(client, ranking).query):
        assert [each["name"] for each in document["references"]] == [
            f"{Path(reference.path).name} · {Path(reference.path).parent}" for reference in ranking.references
        ]


def test_a_long_ranking_is_saved_in_groups(
    client: Elasticsearch, ranking: Ranking, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved(client, save_ranking(client, ranking).query)
    monkeypatch.setattr("simquery.query.results._AT_ONCE", 3)
    grouped = saved(client, save_ranking(client, ranking).query)
    own = ("query", "at", "asked")
    assert [{name: document[name] for name in document if name not in own} for document in grouped] == [
        {name: document[name] for name in document if name not in own} for document in whole
    ]


def test_a_note_cannot_steer_a_terminal(client: Elasticsearch, ranking: Ranking) -> None:
    first = saved(client, save_ranking(client, ranking, note="red\x1b[2J\ncar").query)[0]
    assert first["note"] == "red\\x1b[2J\ncar"


def test_what_the_case_holds_is_used_and_blurred_on_demand(client: Elasticsearch, ranking: Ranking) -> None:
    stripes = np.zeros((96, 96, 3), dtype=np.uint8)
    stripes[:, ::6] = 255
    sink = io.BytesIO()
    Image.fromarray(stripes).save(sink, "JPEG")
    facts = {
        "thumbnail": base64.b64encode(sink.getvalue()).decode(),
        "camera": "Acme X1",
        "taken_at": "2021-05-04T10:00:00Z",
        "labels": ["car"],
    }
    nearest = ranking.hits[0].sha256
    client.update(index=images_index(ranking.case, ranking.model), id=nearest, doc=facts, refresh=True)
    sharp, soft = (saved(client, save_ranking(client, ranking, blur=blur).query)[0] for blur in (False, True))
    assert {name: sharp[name] for name in facts} == facts
    assert (sharp["blurred"], soft["blurred"]) == (False, True)
    contrast = [np.asarray(picture(document["thumbnail"]), float).std() for document in (sharp, soft)]
    assert contrast[1] < contrast[0] / 4


def test_a_picture_that_is_gone_leaves_its_hit_without_thumbnail(client: Elasticsearch, ranking: Ranking) -> None:
    gone = ranking.hits[-1]
    for path in gone.paths:
        Path(path).unlink()
    result = save_ranking(client, ranking)
    assert result.without_thumbnail == 1
    assert [("thumbnail" in document) for document in saved(client, result.query)] == [True, True, True, False]


def test_a_refused_document_names_the_incomplete_query(client: Elasticsearch, ranking: Ranking) -> None:
    client.indices.put_settings(index=results_index(), settings={"index.blocks.write": True})
    try:
        with pytest.raises(ClusterError, match=r"Query '\S+' could not be saved completely: .*blocked"):
            save_ranking(client, ranking)
    finally:
        client.indices.put_settings(index=results_index(), settings={"index.blocks.write": None})
