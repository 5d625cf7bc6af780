"""Saved queries: rankings stored as documents for Kibana, with thumbnails of the references and the hits.

One document says all that was asked, and has the references with their thumbnails. One more for each hit says what
Kibana shows or filters by, because Kibana cannot join documents.
"""

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
from simquery.query.account import account
from simquery.query.example import Combine
from simquery.query.ranking import Hit, Ranking, Reference
from simquery.version import __version__

__all__ = ["Saved", "document_id", "save_ranking"]

logger = logging.getLogger(__name__)

_FACTS = ("labels", "format", "camera", "taken_at")
_AT_ONCE = 200
_LONGEST_TITLE = 1000
"""Characters; the document has every condition in full."""


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
    # Newer queries have greater ids, also within a second: tables and controls sort by them.
    query = f"{at:%Y%m%dT%H%M%S}-{at.microsecond // 1000:03x}{secrets.token_hex(2)}"
    shared = _shared(query, at, ranking, note=note, blur=blur)
    references = _pictures(client, ranking, ranking.references, blur=blur)
    rejected = _pictures(client, ranking, ranking.query.rejected, blur=blur)
    sought = {reference.sha256 for reference in ranking.references}
    without_thumbnail = sum("thumbnail" not in each for each in (*references, *rejected))
    cluster = Cluster(client, PATIENCE_OF_PEOPLE)
    asked = shared | _asked(ranking) | {"references": references, "rejected": rejected}
    _create(cluster, index, query, {query: asked})
    shared["references"] = [_without_thumbnail(each) for each in references]
    for hits in _groups(ranking.hits):
        facts = _look_up(client, ranking, [hit.sha256 for hit in hits])
        documents = {}
        for hit in hits:
            known = facts[hit.sha256]
            jpeg = _stored(known) or _read(_places(hit.paths))
            without_thumbnail += jpeg is None
            document = shared | _document(hit, known, blurred(jpeg) if jpeg and blur else jpeg)
            documents[document_id(query, hit.rank)] = document | {"is_reference": hit.sha256 in sought}
        _create(cluster, index, query, documents)
    client.indices.refresh(index=index)
    return Saved(query, without_thumbnail)


def _create(cluster: Cluster, index: str, query: str, documents: Mapping[str, dict[str, Any]]) -> None:
    try:
        cluster.create(index, documents.items())
    except ClusterError as error:
        raise ClusterError(f"Query '{query}' could not be saved completely: {error}") from None


def _shared(query: str, at: datetime, ranking: Ranking, *, note: str | None, blur: bool) -> dict[str, Any]:
    """Return the fields that are the same in all documents of a saved query."""
    sought = {reference.sha256 for reference in ranking.references}
    title = _title(ranking)
    fields = {
        "query": query,
        "title": title,
        "asked": f"{query} · {title}",
        "at": at.isoformat(timespec="milliseconds"),
        "case": ranking.case,
        "model": ranking.model,
        "distance": ranking.distance,
        "mode": str(ranking.mode),
        "note": None if note is None else printable(note),
        "k": ranking.query.k,
        "hits": len(ranking.hits),
        "to_review": sum(hit.sha256 not in sought for hit in ranking.hits),
        "collection_size": ranking.collection_size,
        "version": __version__,
        "blurred": blur,
    }
    return _present(fields)


def _asked(ranking: Ranking) -> dict[str, Any]:
    """Return the fields of the document of the query: what was asked, beyond what each hit says too."""
    query = ranking.query
    fields = {
        "fingerprint": ranking.fingerprint,
        "combine": str(query.combine),
        "augment": _augment(ranking),
        "filters": query.filters.described(),
        "within": query.within,
        "candidates": ranking.candidates,
        "matched": ranking.matched,
        "warning": ranking.warning,
        "account": account(),
    }
    return _present(fields)


def _augment(ranking: Ranking) -> list[str]:
    return list(dict.fromkeys(name for reference in ranking.references for name in reference.augment))


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


def _pictures(
    client: Elasticsearch, ranking: Ranking, references: Sequence[Reference], *, blur: bool
) -> list[dict[str, Any]]:
    known = _look_up(client, ranking, [reference.sha256 for reference in references])
    described = []
    for reference in references:
        jpeg = _stored(known[reference.sha256]) or _read([real_path(reference.path)])
        fields = {
            "sha256": reference.sha256,
            "path": reference.path,
            "name": _name(reference),
            "thumbnail": _encoded(blurred(jpeg) if jpeg and blur else jpeg),
        }
        described.append(_present(fields))
    return described


def _name(reference: Reference) -> str:
    """Path with its last part first, where paths differ and no list of choices cuts it off."""
    path = PurePosixPath(reference.path)
    return f"{path.name} · {path.parent}"


def _without_thumbnail(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reference.items() if name != "thumbnail"}


def _groups(hits: Sequence[Hit]) -> Iterator[Sequence[Hit]]:
    for start in range(0, len(hits), _AT_ONCE):
        yield hits[start : start + _AT_ONCE]


def _title(ranking: Ranking) -> str:
    """What was asked, in a line: whatever is not as usual is named, above all an approximate answer."""
    query = ranking.query
    rejected = [f"not {_several(query.rejected)}"] if query.rejected else []
    combined = [f"{query.combine} of the references"] if query.combine is not Combine.SUM else []
    augmented = [f"also {', '.join(names)}"] if (names := _augment(ranking)) else []
    filtered = [f"only {'; '.join(lines)}"] if (lines := query.filters.described()) else []
    within = [f"within {query.within:g}"] if query.within is not None else []
    approximate = [f"approximate, {ranking.candidates:,} candidates"] if ranking.candidates is not None else []
    parts = [_several(ranking.references), *rejected, ranking.model, ranking.distance]
    return _cut(" · ".join([*parts, *approximate, *combined, *augmented, *within, *filtered]))


def _several(references: Sequence[Reference]) -> str:
    more = f" and {len(references) - 1} more" if len(references) > 1 else ""
    return f"{PurePosixPath(references[0].path).name}{more}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 2] + " …"


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
