"""The ledger of a case: one entry for each path seen, with what became of it and why."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from simquery import __version__
from simquery.indexer.candidates import Candidate
from simquery.indexer.writing import answered, bulk
from simquery.paths import display_path

__all__ = ["Entry", "Ledger", "Status", "refused_entry"]


class Status(StrEnum):
    """What became of a path."""

    INDEXED = "indexed"
    """The first path seen with its content, which has a document of its own."""
    DUPLICATE = "duplicate"
    """Its content was indexed before, from another path; the document lists both."""
    UNREADABLE = "unreadable"
    """It should be a picture and could not be read; the reason says why."""
    SKIPPED = "skipped"
    """It is not a picture, or not a file to look into; the reason says why."""


@dataclass(frozen=True)
class Entry:
    """One path in the ledger.

    ``sha256`` is None where the content could not be read this time; such a path is tried again by the next run.
    ``models`` have embedded it; those in ``refused_by`` found nothing in it (zero or infinite features).
    """

    candidate: Candidate
    status: Status
    sha256: str | None = None
    reason: str | None = None
    models: tuple[str, ...] = ()
    refused_by: tuple[str, ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    recorded_at: str = ""

    def is_final(self, candidate: Candidate, model: str) -> bool:
        """Whether the path needs no second look: unchanged, read before, and known to this model."""
        if not self._is_same_file(candidate):
            return False
        if self.models or self.refused_by:
            return model in (*self.models, *self.refused_by)
        return self.sha256 is not None or candidate.skipped is not None

    def following(self, previous: "Entry | None") -> "Entry":
        """Carry over what the ledger knew before: models of the same content, the facts of an earlier one.

        A content that one model has embedded stays ``indexed`` or ``duplicate``, whatever another makes of it.
        """
        if previous is None:
            return self
        if previous.sha256 == self.sha256:
            known = replace(previous, candidate=self.candidate) if previous.models else self
            return replace(
                known,
                models=tuple(sorted({*previous.models, *self.models})),
                refused_by=tuple(sorted({*previous.refused_by, *self.refused_by})),
                earlier=previous.earlier,
            )
        if previous.sha256 is None:
            return replace(self, earlier=previous.earlier)
        was = {
            "sha256": previous.sha256,
            "size": previous.candidate.size,
            "mtime_ns": str(previous.candidate.mtime_ns),
            "recorded_at": previous.recorded_at,
        }
        return replace(self, earlier=(*previous.earlier, was))

    def _is_same_file(self, candidate: Candidate) -> bool:
        was = self.candidate
        return (was.size, was.mtime_ns) == (candidate.size, candidate.mtime_ns)


class Ledger:
    """Reads and writes the ledger's index."""

    def __init__(self, client: Elasticsearch, index: str) -> None:
        self._client = client
        self._index = index

    def lookup(self, candidates: Sequence[Candidate]) -> list[Entry | None]:
        """Entries of some paths, None for a path that was never seen; sees writes of a moment ago."""
        if not candidates:
            return []
        ids = [_entry_id(candidate.path) for candidate in candidates]
        answer = self._client.mget(index=self._index, ids=ids)
        return [
            _entry(candidate, found["_source"]) if found["found"] else None
            for candidate, found in zip(candidates, answered(answer["docs"]), strict=True)
        ]

    def record(self, entries: Iterable[Entry]) -> None:
        """Write entries; each replaces what the ledger had for its path."""
        for _ in bulk(self._client, (self._action(entry) for entry in entries)):
            pass

    def _action(self, entry: Entry) -> dict[str, Any]:
        return {
            "_op_type": "index",
            "_index": self._index,
            "_id": _entry_id(entry.candidate.path),
            "_source": _document(entry),
        }


def refused_entry(candidate: Candidate, content: str, model: str) -> Entry:
    """Entry of a picture in which a network finds nothing."""
    reason = f"model '{model}' finds nothing in it (zero or infinite features)"
    return Entry(candidate, Status.UNREADABLE, content, reason, refused_by=(model,))


def _entry_id(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _document(entry: Entry) -> dict[str, Any]:
    candidate = entry.candidate
    document = {
        "path": display_path(candidate.path),
        "size": candidate.size,
        "mtime": _iso(candidate.mtime_ns),
        "mtime_ns": str(candidate.mtime_ns),
        "sha256": entry.sha256,
        "status": str(entry.status),
        "reason": entry.reason,
        "models": list(entry.models),
        "refused_by": list(entry.refused_by),
        "earlier": list(entry.earlier),
        "recorded_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": __version__,
    }
    return {name: value for name, value in document.items() if value not in (None, [])}


def _entry(candidate: Candidate, document: dict[str, Any]) -> Entry:
    return Entry(
        Candidate(candidate.path, document["size"], int(document["mtime_ns"])),
        Status(document["status"]),
        document.get("sha256"),
        document.get("reason"),
        tuple(document.get("models", ())),
        tuple(document.get("refused_by", ())),
        tuple(document.get("earlier", ())),
        document["recorded_at"],
    )


def _iso(mtime_ns: int) -> str | None:
    # date_nanos holds 1970 to 2262; a file dated outside of that has its time in mtime_ns alone.
    if not 0 <= mtime_ns < 2**63:
        return None
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
