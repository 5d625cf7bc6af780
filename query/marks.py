"""Marks: what analysts say of the hits of a saved query.

A mark is a document that is added and never changed. Who marks a hit again adds another one: the latest counts, and
what was said before stays.
"""

import os
import pwd
import socket
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import scan

from simquery.errors import QueryError
from simquery.mappings import marks_index, open_marks_index, results_index
from simquery.query.results import create_documents, document_id
from simquery.version import __version__

__all__ = ["Mark", "Review", "Verdict", "mark_hits", "read_review"]

_COPIED = ("query", "title", "case", "model", "distance", "rank", "value", "sha256", "paths", "thumbnail", "blurred")
_LOOKED_UP_AT_ONCE = 200


class Verdict(StrEnum):
    """What can be said of a hit."""

    RELEVANT = "relevant"
    IRRELEVANT = "irrelevant"
    REVIEW = "review"
    """Somebody has to look again: neither the one nor the other yet."""


@dataclass(frozen=True)
class Mark:
    """What was said of a hit, when and by whom.

    ``by`` is whom the cluster knows by the credentials (None where it has no security), ``account`` the user and
    machine that the command ran as. ``at`` is UTC, ISO 8601.
    """

    rank: int
    sha256: str
    mark: Verdict
    note: str | None
    at: str
    by: str | None
    account: str


@dataclass(frozen=True)
class Review:
    """How far a saved query has been looked at.

    ``hits`` is how many it has, ``marks`` everything that was said of them, the earliest first.
    """

    query: str
    title: str
    hits: int
    marks: tuple[Mark, ...]

    @property
    def current(self) -> dict[int, Mark]:
        """The latest mark of each rank that has one, in the order of the ranks."""
        return dict(sorted({mark.rank: mark for mark in self.marks}.items()))

    @property
    def counts(self) -> Counter[Verdict]:
        """How many hits have which mark now."""
        return Counter(mark.mark for mark in self.current.values())

    @property
    def reviewed(self) -> int:
        """How many hits were found relevant or irrelevant."""
        return self.counts[Verdict.RELEVANT] + self.counts[Verdict.IRRELEVANT]

    @property
    def precision(self) -> float | None:
        """Share of relevant hits among those reviewed; None while there are none."""
        return self.counts[Verdict.RELEVANT] / self.reviewed if self.reviewed else None

    def as_dict(self) -> dict[str, Any]:
        """Return the review as JSON shows it; ``current`` tells the marks that count from those before them."""
        current = self.current
        return {
            "query": self.query,
            "title": self.title,
            "hits": self.hits,
            "reviewed": self.reviewed,
            "precision": self.precision,
            **{str(verdict): self.counts[verdict] for verdict in Verdict},
            "marks": [asdict(mark) | {"current": mark is current[mark.rank]} for mark in self.marks],
        }


def mark_hits(
    client: Elasticsearch, query: str, ranks: Collection[int], verdict: Verdict, *, note: str | None = None
) -> None:
    """Say something of hits of a saved query.

    Parameters
    ----------
    client
        Connection to the cluster; its credentials may create documents in ``simquery-marks``.
    query
        Id of the saved query.
    ranks
        Which of its hits.
    verdict, note
        What is said of each of them.

    Raises
    ------
    QueryError
        When no such query is saved, or it has no hit of such a rank; then nothing is marked.
    ClusterError
        When the cluster refuses a mark.
    """
    hits = _hits(client, query, ranks)
    said = {
        "mark": verdict,
        "note": note,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "by": _known_as(client),
        "account": _account(),
        "version": __version__,
    }
    said = {name: value for name, value in said.items() if value is not None}
    # What Kibana shows or filters by is copied: it joins nothing.
    documents = [
        {name: hit[name] for name in _COPIED if name in hit}
        | {"references": [{name: each[name] for name in ("sha256", "path")} for each in hit["references"]]}
        | said
        for hit in (hits[rank] for rank in sorted(set(ranks)))
    ]
    index = open_marks_index(client)
    create_documents(client, index, ((None, each) for each in documents), f"Query '{query}' could not be marked whole")


def read_review(client: Elasticsearch, query: str) -> Review:
    """Read how far a saved query has been looked at.

    Raises
    ------
    QueryError
        When no such query is saved.
    """
    first = _hits(client, query, [], fields=["title", "hits"])[1]
    request = {"query": {"term": {"query": query}}, "_source": [*Mark.__dataclass_fields__]}
    found = scan(client, index=marks_index(), query=request, ignore_unavailable=True)
    marks = (_mark(document["_source"]) for document in found)
    return Review(query, first["title"], first["hits"], tuple(sorted(marks, key=lambda mark: (mark.at, mark.rank))))


def _mark(document: dict[str, Any]) -> Mark:
    missing: dict[str, Any] = {"note": None, "by": None}
    return Mark(**missing | document | {"mark": Verdict(document["mark"])})


def _hits(
    client: Elasticsearch, query: str, ranks: Iterable[int], fields: list[str] | None = None
) -> dict[int, dict[str, Any]]:
    """Documents of the first hit and of those asked for, by rank."""
    wanted = sorted({1, *ranks})
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(wanted), _LOOKED_UP_AT_ONCE):
        asked = wanted[start : start + _LOOKED_UP_AT_ONCE]
        ids = [document_id(query, rank) for rank in asked]
        answer = client.mget(index=results_index(), ids=ids, source_includes=fields)
        found |= {rank: each["_source"] for rank, each in zip(asked, answer["docs"], strict=True) if each.get("found")}
    if 1 not in found:
        raise QueryError(f"No query '{query}' is saved: 'simquery query IMAGE --save' prints the id of what it saves.")
    missing = [rank for rank in wanted if rank not in found]
    if missing:
        raise QueryError(f"Query '{query}' has {found[1]['hits']:,} hits, and none of rank {missing[0]:,}.")
    return found


def _known_as(client: Elasticsearch) -> str | None:
    try:
        known = client.security.authenticate()
    except ApiError:  # a cluster without security knows nobody; one that refuses will refuse the mark, too
        return None
    key = known.body.get("api_key", {}).get("name")
    return f"{known['username']}, API key '{key}'" if key else str(known["username"])


def _account() -> str:
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs as any number
        name = str(number)
    return f"{name}@{socket.gethostname()}"
