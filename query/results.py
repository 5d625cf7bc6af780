"""Saved queries: rankings stored as documents for Kibana, with thumbnails of the references and the hits."""

import base64
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from elasticsearch import AuthorizationException, Elasticsearch

from simquery.cluster.patience import PATIENCE_OF_PEOPLE
from simquery.cluster.waiting import Cluster
from simquery.errors import ClusterError, PictureError
from simquery.mappings import images_index, open_index
from simquery.paths import display_path, printable, real_path
from simquery.pictures.thumbnails import blurred, read_thumbnail
from simquery.query.ranking import Hit, Ranking
from simquery.version import __version__

__all__ = ["Saved", "document_id", "save_ranking"]

logger = logging.getLogger(__name__)

_FACTS = ("labels", "format", "camera", "taken_at")
_AT_ONCE = 200


@dataclass(frozen=True)
class Saved:
    """A saved query: its id, and how many pictures have no thumbnail because they can no longer be read."""

    query: str
    without_thumbnail: int


def save_ranking(client: Elasticsearch, ranking: Ranking, *, note: str | None = None, blur: bool = False) -> Saved:
    """Save a ranking for Kibana, and return its id.

    A hit's thumbnail is the one in the case; if there is none, the picture is read again. Hits are stored in groups, so
    a long ranking takes no more memory for thumbnails than a short one.

    Parameters
    ----------
    client
        Connection to the cluster; its credentials may create documents in ``simquery-results``.
    ranking
        Ranking to save.
    note
        Remark to store with the query.
    blur
        Store blurred thumbnails only.

    Raises
    ------
    ClusterError
        When the cluster refuses a document; the message names the query that is incomplete.
    """
    index = open_index(client, "results")
    # Kibana's tables of hits also name fields of marks, and would be empty without an index of marks.
    with suppress(AuthorizationException):
        open_index(client, "marks")
    at = datetime.now(UTC)
    query = f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    shared = _shared(query, at, ranking, note=note, blur=blur)
    references = _references(client, ranking, blur=blur)
    without_thumbnail = sum("thumbnail" not in each for each in references)
    cluster = Cluster(client, PATIENCE_OF_PEOPLE)
    for hits in _groups(ranking.hits):
        facts = _look_up(client, ranking, [hit.sha256 for hit in hits])
        documents = {}
        for hit in hits:
            known = facts[hit.sha256]
            jpeg = _stored(known) or _read(_places(hit.paths))
            without_thumbnail += jpeg is None
            document = shared | _document(hit, known, blurred(jpeg) if jpeg and blur else jpeg)
            # Only the first document has the references' thumbnails, which would take most of the space in the others.
            seen = references if hit.rank == 1 else [_without_thumbnail(each) for each in references]
            documents[document_id(query, hit.rank)] = document | {"references": seen}
        try:
            cluster.create(index, documents.items())
        except ClusterError as error:
            raise ClusterError(f"Query '{query}' could not be saved completely: {error}") from None
    client.indices.refresh(index=index)
    return Saved(query, without_thumbnail)


def _shared(query: str, at: datetime, ranking: Ranking, *, note: str | None, blur: bool) -> dict[str, Any]:
    """Return the fields that are the same in all documents of a saved query."""
    fields = {
        "query": query,
        "title": _title(ranking),
        "at": at.isoformat(timespec="milliseconds"),
        "case": ranking.case,
        "model": ranking.model,
        "distance": ranking.distance,
        "mode": str(ranking.mode),
        "note": None if note is None else printable(note),
        "k": ranking.query.k,
        "hits": len(ranking.hits),
        "collection_size": ranking.collection_size,
        "version": __version__,
        "blurred": blur,
    }
    return _present(fields)


def _document(hit: Hit, known: Mapping[str, Any], jpeg: bytes | None) -> dict[str, Any]:
    """Return the fields of one hit, with the facts about its picture."""
    fields = {
        "rank": hit.rank,
        "value": hit.distance,
        "sha256": hit.sha256,
        "paths": list(hit.paths),
        **{name: known.get(name) for name in _FACTS},
        "thumbnail": _encoded(jpeg),
    }
    return _present(fields)


def _references(client: Elasticsearch, ranking: Ranking, *, blur: bool) -> list[dict[str, Any]]:
    known = _look_up(client, ranking, [reference.sha256 for reference in ranking.references])
    described = []
    for reference in ranking.references:
        jpeg = _stored(known[reference.sha256]) or _read([real_path(reference.path)])
        thumbnail = _encoded(blurred(jpeg) if jpeg and blur else jpeg)
        described.append(_present({"sha256": reference.sha256, "path": reference.path, "thumbnail": thumbnail}))
    return described


def _without_thumbnail(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reference.items() if name != "thumbnail"}


def _groups(hits: Sequence[Hit]) -> Iterator[Sequence[Hit]]:
    for start in range(0, len(hits), _AT_ONCE):
        yield hits[start : start + _AT_ONCE]


def _title(ranking: Ranking) -> str:
    name = PurePosixPath(ranking.references[0].path).name
    more = f" and {len(ranking.references) - 1} more" if len(ranking.references) > 1 else ""
    mode = "" if ranking.mode == "exact" else f" · {ranking.mode}"
    return f"{name}{more} · {ranking.model} · {ranking.distance}{mode}"


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _look_up(client: Elasticsearch, ranking: Ranking, contents: Sequence[str]) -> dict[str, dict[str, Any]]:
    index = images_index(ranking.case, ranking.model)
    documents = Cluster(client, PATIENCE_OF_PEOPLE).found(index, contents, source_includes=[*_FACTS, "thumbnail"])
    return {document["_id"]: document.get("_source", {}) for document in documents}


def _stored(facts: Mapping[str, Any]) -> bytes | None:
    return base64.b64decode(facts["thumbnail"]) if "thumbnail" in facts else None


def _encoded(jpeg: bytes | None) -> str | None:
    return None if jpeg is None else base64.b64encode(jpeg).decode("ascii")


def _places(paths: Iterable[str]) -> list[Path]:
    return [real_path(path) for path in paths]


def _read(places: Iterable[Path]) -> bytes | None:
    for path in places:
        try:
            return read_thumbnail(path)
        except (PictureError, OSError) as error:
            logger.debug("no thumbnail of '%s': %s", display_path(path), error)
    return None


def document_id(query: str, rank: int) -> str:
    """Return the id of the document of a saved query's hit."""
    return f"{query}-{rank}"
