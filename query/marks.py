"""Marks: analysts' verdicts on the hits of a saved query.

A mark is a document that is added and never changed. Marking a hit again adds another mark; the latest one counts, and
the earlier ones are kept. The server writes into each mark who made it and when (ADR 27).
"""

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
from simquery.query.account import account
from simquery.query.results import document_id
from simquery.version import __version__

__all__ = ["Mark", "Review", "Verdict", "mark_hits", "read_review"]

_NOT_COPIED = frozenset({"at", "note", "version", "k", "collection_size"})
"""What a mark says of itself, or nobody filters marks by."""

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
    ``is_reference`` tells that the hit is a reference of the query itself, whose mark counts for nothing.
    """

    rank: int
    sha256: str
    mark: Verdict
    note: str | None
    at: str
    by: str | None
    account: str
    is_reference: bool


@dataclass(frozen=True)
class Review:
    """The state of the review of a saved query.

    ``hits`` is the number of its hits, ``to_review`` that without the references themselves; ``marks`` are all marks,
    in the order in which the server stored them.
    """

    query: str
    title: str
    hits: int
    to_review: int
    marks: tuple[Mark, ...]

    @property
    def current(self) -> dict[int, Mark]:
        """The latest mark of each marked rank, in the order of the ranks."""
        return dict(sorted({mark.rank: mark for mark in self.marks}.items()))

    @property
    def counts(self) -> Counter[Verdict]:
        """Number of hits by their latest verdict; a reference that was found again is no hit."""
        return Counter(mark.mark for mark in self.current.values() if not mark.is_reference)

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
            "to_review": self.to_review,
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
        "account": account(),
        "version": __version__,
    }
    said = {name: value for name, value in said.items() if value is not None}
    # Kibana cannot join documents, so a mark copies the hit: a filter that leaves out a hit leaves out its marks too.
    documents = [
        {name: value for name, value in hit.items() if name not in _NOT_COPIED} | said
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
    asked = _asked(client, query)
    marks: list[Mark] = []
    if client.indices.exists(index=marks_index()):
        # The server numbers the documents in the one shard of this index, independently of any clock.
        pages = Cluster(client, PATIENCE_OF_PEOPLE).pages(
            marks_index(), {"term": {"query": query}}, "_seq_no", source_includes=[*Mark.__dataclass_fields__]
        )
        marks = [_mark(hit["_source"]) for hits in pages for hit in hits]
    return Review(query, asked["title"], asked["hits"], asked["to_review"], tuple(marks))


def _mark(document: dict[str, Any]) -> Mark:
    # Other clients may also write marks, with any characters.
    texts = {name: document.get(name) for name in ("note", "by", "account")}
    shown = {name: None if text is None else printable(text) for name, text in texts.items()}
    return Mark(**{"is_reference": False} | document | shown | {"mark": Verdict(document["mark"])})


def _asked(client: Elasticsearch, query: str) -> dict[str, Any]:
    """Return the document that says what was asked."""
    fields = ["title", "hits", "to_review"]
    found = client.options(ignore_status=404).get(index=results_index(), id=query, source_includes=fields)
    if not found.get("found"):
        raise QueryError(f"There is no saved query '{query}': 'simquery query IMAGE --save' prints the id of a query.")
    source: dict[str, Any] = found["_source"]
    return source


def _hits(client: Elasticsearch, query: str, ranks: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the documents of the requested hits, by rank."""
    asked = _asked(client, query)
    wanted = sorted(set(ranks))
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(wanted), _LOOKED_UP_AT_ONCE):
        some = wanted[start : start + _LOOKED_UP_AT_ONCE]
        answer = client.mget(index=results_index(), ids=[document_id(query, rank) for rank in some])
        found |= {rank: each["_source"] for rank, each in zip(some, answer["docs"], strict=True) if each.get("found")}
    for rank in wanted:
        if rank not in found:
            raise QueryError(f"Query '{query}' has {asked['hits']:,} hits; there is none of rank {rank:,}.")
    return found
