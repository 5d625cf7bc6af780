"""Marks: analysts' verdicts on the hits of a saved query.

A mark is a document that is added and never changed. Marking a hit again adds another mark; the latest one counts, and
the earlier ones are kept. The server writes into each mark who made it and when (ADR 27).
"""

import os
import pwd
import socket
import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from elasticsearch import Elasticsearch

from simquery.cluster.patience import PATIENCE_OF_PEOPLE
from simquery.cluster.waiting import Cluster
from simquery.errors import ClusterError, QueryError
from simquery.mappings import install_templates, marks_are_stamped, marks_index, open_index, results_index
from simquery.paths import printable
from simquery.query.results import document_id
from simquery.version import __version__

__all__ = ["Mark", "Review", "Verdict", "mark_hits", "read_review"]

_COPIED = ("query", "title", "case", "model", "distance", "rank", "value", "sha256", "paths", "thumbnail", "blurred")
_LOOKED_UP_AT_ONCE = 200
_NOT_STAMPED = (
    "The cluster does not write user and time into marks, so anybody could make them up. An administrator must install"
    " simquery's ingest pipeline: run 'simquery index' once with credentials that have the cluster privileges"
    " manage_ingest_pipelines and manage_index_templates."
)


class Verdict(StrEnum):
    """An analyst's verdict on a hit."""

    RELEVANT = "relevant"
    IRRELEVANT = "irrelevant"
    REVIEW = "review"
    """Undecided: somebody has to look again."""


@dataclass(frozen=True)
class Mark:
    """A verdict on a hit, when it was given and by whom.

    The server writes ``at``, its own time (UTC, ISO 8601), and ``by``, the user whose credentials the client used (None
    on a cluster without security). The client writes ``account``, the user and machine that ran the command.
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
    """The state of the review of a saved query.

    ``hits`` is the number of its hits; ``marks`` are all marks, in the order in which the server stored them.
    """

    query: str
    title: str
    hits: int
    marks: tuple[Mark, ...]

    @property
    def current(self) -> dict[int, Mark]:
        """The latest mark of each marked rank, in the order of the ranks."""
        return dict(sorted({mark.rank: mark for mark in self.marks}.items()))

    @property
    def counts(self) -> Counter[Verdict]:
        """Number of hits by their latest verdict."""
        return Counter(mark.mark for mark in self.current.values())

    @property
    def reviewed(self) -> int:
        """Number of hits marked as relevant or irrelevant."""
        return self.counts[Verdict.RELEVANT] + self.counts[Verdict.IRRELEVANT]

    @property
    def precision(self) -> float | None:
        """Share of relevant hits among those reviewed; None if none has been reviewed."""
        return self.counts[Verdict.RELEVANT] / self.reviewed if self.reviewed else None

    def as_dict(self) -> dict[str, Any]:
        """Return the review as a JSON object; ``current`` is true for the marks that count."""
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
    """Mark hits of a saved query.

    Parameters
    ----------
    client
        Connection to the cluster; its credentials may create documents in ``simquery-marks``.
    query
        Id of the saved query.
    ranks
        Ranks of the hits.
    verdict, note
        The verdict on each of them, and the reason for it.

    Raises
    ------
    QueryError
        When there is no such saved query, or it has no hit of one of the ranks; then nothing is marked.
    ClusterError
        When the cluster refuses a mark, or does not write user and time into marks itself.
    """
    hits = _hits(client, query, ranks)
    index = open_index(client, "marks")
    if not marks_are_stamped(client):
        install_templates(client)
        if not marks_are_stamped(client):
            raise ClusterError(_NOT_STAMPED)
    said = {
        "mark": verdict,
        "note": None if note is None else printable(note),
        "account": _account(),
        "version": __version__,
    }
    said = {name: value for name, value in said.items() if value is not None}
    # Kibana cannot join documents, so a mark copies what Kibana shows or filters by.
    documents = [
        {name: hit[name] for name in _COPIED if name in hit}
        | {"references": [{name: each[name] for name in ("sha256", "path")} for each in hit["references"]]}
        | said
        for hit in (hits[rank] for rank in sorted(set(ranks)))
    ]
    try:
        Cluster(client, PATIENCE_OF_PEOPLE).create(index, ((uuid.uuid4().hex, each) for each in documents))
    except ClusterError as error:
        reason = _NOT_STAMPED if "pipeline with id" in str(error) else error
        raise ClusterError(f"Not all marks on query '{query}' could be stored: {reason}") from None
    client.indices.refresh(index=index)


def read_review(client: Elasticsearch, query: str) -> Review:
    """Read the state of the review of a saved query.

    Raises
    ------
    QueryError
        When there is no such saved query.
    """
    first = _hits(client, query, [], fields=["title", "hits"])[1]
    marks: list[Mark] = []
    if client.indices.exists(index=marks_index()):
        # The server numbers the documents in the one shard of this index, independently of any clock.
        pages = Cluster(client, PATIENCE_OF_PEOPLE).pages(
            marks_index(), {"term": {"query": query}}, "_seq_no", source_includes=[*Mark.__dataclass_fields__]
        )
        marks = [_mark(hit["_source"]) for hits in pages for hit in hits]
    return Review(query, first["title"], first["hits"], tuple(marks))


def _mark(document: dict[str, Any]) -> Mark:
    # Other clients may also write marks, with any characters.
    texts = {name: document.get(name) for name in ("note", "by", "account")}
    shown = {name: None if text is None else printable(text) for name, text in texts.items()}
    return Mark(**document | shown | {"mark": Verdict(document["mark"])})


def _hits(
    client: Elasticsearch, query: str, ranks: Iterable[int], fields: list[str] | None = None
) -> dict[int, dict[str, Any]]:
    """Return the documents of the first hit and of the requested hits, by rank."""
    wanted = sorted({1, *ranks})
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(wanted), _LOOKED_UP_AT_ONCE):
        asked = wanted[start : start + _LOOKED_UP_AT_ONCE]
        ids = [document_id(query, rank) for rank in asked]
        answer = client.mget(index=results_index(), ids=ids, source_includes=fields)
        found |= {rank: each["_source"] for rank, each in zip(asked, answer["docs"], strict=True) if each.get("found")}
    if 1 not in found:
        raise QueryError(f"There is no saved query '{query}': 'simquery query IMAGE --save' prints the id of a query.")
    missing = [rank for rank in wanted if rank not in found]
    if missing:
        raise QueryError(f"Query '{query}' has {found[1]['hits']:,} hits; there is none of rank {missing[0]:,}.")
    return found


def _account() -> str:
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container whose user has no name
        name = str(number)
    return f"{name}@{socket.gethostname()}"
