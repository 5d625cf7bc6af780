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
from simquery.indexer.candidates import Candidate
from simquery.indexer.writing import bulk

from simquery import __version__
from simquery.paths import display_path

__all__ = ["Entry", "Ledger", "Status"]


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

    ``sha256`` is None where the content could not be read at all; such a path is tried again by the next run.
    """

    candidate: Candidate
    status: Status
    sha256: str | None = None
    reason: str | None = None
    models: tuple[str, ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    recorded_at: str = ""

    def is_final(self, candidate: Candidate, model: str) -> bool:
        """Whether the path needs no second look: unchanged, read before, and known to this model."""
        if not self._is_same_file(candidate):
            return False
        if self.status in (Status.UNREADABLE, Status.SKIPPED):
            return self.sha256 is not None or candidate.skipped is not None
        return model in self.models

    def following(self, previous: "Entry | None") -> "Entry":
        """Carry over what the ledger knew before: models of the same content, the facts of an earlier one."""
        if previous is None:
            return self
        if previous.sha256 == self.sha256:
            models = tuple(sorted({*previous.models, *self.models}))
            return replace(self, models=models, earlier=previous.earlier)
        if previous.sha256 is None:
            return replace(self, earlier=previous.earlier)
        was = {
            "sha256": previous.sha256,
            "size": previous.candidate.size,
            "mtime_ns": previous.candidate.mtime_ns,
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
            _entry(candidate, found["_source"]) if found.get("found") else None
            for candidate, found in zip(candidates, answer["docs"], strict=True)
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


def _entry_id(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _document(entry: Entry) -> dict[str, Any]:
    candidate = entry.candidate
    document = {
        "path": display_path(candidate.path),
        "size": candidate.size,
        "mtime": _iso(candidate.mtime_ns),
        "mtime_ns": candidate.mtime_ns,
        "sha256": entry.sha256,
        "status": str(entry.status),
        "reason": entry.reason,
        "models": list(entry.models),
        "earlier": list(entry.earlier),
        "recorded_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": __version__,
    }
    return {name: value for name, value in document.items() if value not in (None, [])}


def _entry(candidate: Candidate, document: dict[str, Any]) -> Entry:
    return Entry(
        Candidate(candidate.path, document["size"], document["mtime_ns"]),
        Status(document["status"]),
        document.get("sha256"),
        document.get("reason"),
        tuple(document.get("models", ())),
        tuple(document.get("earlier", ())),
        document["recorded_at"],
    )


def _iso(mtime_ns: int) -> str | None:
    # date_nanos holds 1970 to 2262; a file dated outside of that keeps its mtime_ns alone.
    if not 0 <= mtime_ns < 2**63:
        return None
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
