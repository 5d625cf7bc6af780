"""Saved queries: a ranking as documents that Kibana shows, with thumbnails of the references and the hits."""

import base64
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import BulkIndexError, bulk

from simquery.errors import ClusterError, PictureError
from simquery.mappings import images_index, open_marks_index, open_results_index
from simquery.paths import display_path, real_path
from simquery.pictures.thumbnails import blurred, read_thumbnail
from simquery.query.ranking import Ranking
from simquery.version import __version__

__all__ = ["Saved", "create_documents", "document_id", "result_documents", "save_ranking"]

logger = logging.getLogger(__name__)

_FACTS = ("labels", "format", "camera", "taken_at")
_LOOKED_UP_AT_ONCE = 200


@dataclass(frozen=True)
class Saved:
    """A saved query: its id, and of how many pictures there is no thumbnail (they are no longer readable)."""

    query: str
    without_thumbnail: int


def save_ranking(client: Elasticsearch, ranking: Ranking, *, note: str | None = None, blur: bool = False) -> Saved:
    """Save a ranking for Kibana, and return under which id.

    A hit's thumbnail is the one that the case holds; where it holds none, the picture is read again.

    Parameters
    ----------
    client
        Connection to the cluster; its credentials may create documents in ``simquery-results``.
    ranking
        What a search returned.
    note
        What the user wants to remember about the query.
    blur
        Store blurred thumbnails only.

    Raises
    ------
    ClusterError
        When the cluster refuses a document; the message names the query that is incomplete.
    """
    index = open_results_index(client)
    open_marks_index(client)  # Kibana's tables of hits name its fields, and show nothing while there are none
    facts = _facts(client, ranking)
    thumbnails = {hit.sha256: _stored(facts[hit.sha256]) or _read(_places(hit.paths)) for hit in ranking.hits}
    for reference in ranking.references:
        known = thumbnails.get(reference.sha256)
        thumbnails[reference.sha256] = known or _read([real_path(reference.path)])
    if blur:
        thumbnails = {sha256: content and blurred(content) for sha256, content in thumbnails.items()}
    shown = {sha256: content for sha256, content in thumbnails.items() if content}
    at = datetime.now(UTC)
    query = f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    documents = result_documents(query, at, ranking, facts, shown, note=note, blur=blur)
    wanted = {document_id(query, document["rank"]): document for document in documents}
    create_documents(client, index, wanted.items(), f"Query '{query}' could not be saved whole")
    return Saved(query, len(thumbnails) - len(shown))


def result_documents(
    query: str,
    at: datetime,
    ranking: Ranking,
    facts: Mapping[str, Mapping[str, Any]],
    thumbnails: Mapping[str, bytes],
    *,
    note: str | None = None,
    blur: bool = False,
) -> list[dict[str, Any]]:
    """Documents of a saved ranking, one for each hit.

    Parameters
    ----------
    query, at
        Id of the query, and when it was asked.
    ranking
        What a search returned.
    facts
        By SHA-256, what the case knows of a hit: ``labels``, ``format``, ``camera``, ``taken_at``; what is unknown is
        absent.
    thumbnails
        JPEG by SHA-256, of hits and references. The references' are only in the document of the first hit: they are
        the same for all, and most of what a query takes on the disk.
    note, blur
        As in `save_ranking`.
    """
    encoded = {sha256: base64.b64encode(content).decode("ascii") for sha256, content in thumbnails.items()}
    references = [{"sha256": each.sha256, "path": each.path} for each in ranking.references]
    pictured = [_present(each | {"thumbnail": encoded.get(each["sha256"])}) for each in references]
    shared = {
        "query": query,
        "title": _title(ranking),
        "at": at.isoformat(timespec="milliseconds"),
        "case": ranking.case,
        "model": ranking.model,
        "distance": ranking.distance,
        "mode": str(ranking.mode),
        "note": note,
        "k": ranking.query.k,
        "hits": len(ranking.hits),
        "collection_size": ranking.collection_size,
        "version": __version__,
        "blurred": blur,
    }
    return [
        _present(
            {
                **shared,
                "references": pictured if place == 0 else references,
                "rank": hit.rank,
                "value": hit.distance,
                "sha256": hit.sha256,
                "paths": list(hit.paths),
                **{name: facts.get(hit.sha256, {}).get(name) for name in _FACTS},
                "thumbnail": encoded.get(hit.sha256),
            }
        )
        for place, hit in enumerate(ranking.hits)
    ]


def _title(ranking: Ranking) -> str:
    name = PurePosixPath(ranking.references[0].path).name
    more = f" and {len(ranking.references) - 1} more" if len(ranking.references) > 1 else ""
    mode = "" if ranking.mode == "exact" else f" · {ranking.mode}"
    return f"{name}{more} · {ranking.model} · {ranking.distance}{mode}"


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _facts(client: Elasticsearch, ranking: Ranking) -> dict[str, dict[str, Any]]:
    index = images_index(ranking.case, ranking.model)
    contents = [hit.sha256 for hit in ranking.hits]
    facts: dict[str, dict[str, Any]] = {}
    for start in range(0, len(contents), _LOOKED_UP_AT_ONCE):
        ids = contents[start : start + _LOOKED_UP_AT_ONCE]
        answer = client.mget(index=index, ids=ids, source_includes=[*_FACTS, "thumbnail"])
        facts |= {found["_id"]: found.get("_source", {}) for found in answer["docs"]}
    return facts


def _stored(facts: Mapping[str, Any]) -> bytes | None:
    return base64.b64decode(facts["thumbnail"]) if "thumbnail" in facts else None


def _places(paths: Iterable[str]) -> list[Path]:
    return [real_path(path) for path in paths]


def _read(places: Iterable[Path]) -> bytes | None:
    for path in places:
        try:
            return read_thumbnail(path)
        except (PictureError, OSError) as error:
            logger.debug("no thumbnail of '%s': %s", display_path(path), error)
    return None


def create_documents(
    client: Elasticsearch, index: str, documents: Iterable[tuple[str | None, dict[str, Any]]], failure: str
) -> None:
    """Add documents with their ids (None: any), and return when they can be searched; what exists is never replaced.

    Raises
    ------
    ClusterError
        When the cluster refuses a document; the message is ``failure`` and the reason.
    """
    actions = (
        {"_op_type": "create", "_index": index, "_source": document} | ({"_id": name} if name else {})
        for name, document in documents
    )
    try:
        bulk(client, actions, max_retries=5, refresh="wait_for")
    except BulkIndexError as error:
        reason = next(iter(error.errors[0].values())).get("error", {})
        said = reason.get("reason", reason) if isinstance(reason, dict) else reason
        raise ClusterError(f"{failure}: {str(said).rstrip('.')}.") from None


def document_id(query: str, rank: int) -> str:
    """Id of the document of a saved query's hit."""
    return f"{query}-{rank}"
