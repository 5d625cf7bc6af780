"""The ledger of a case: one entry for each path seen, with what became of it and why."""

import hashlib
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from simquery.cluster.waiting import CONFLICT, Cluster
from simquery.indexer.evidence import EvidenceFile
from simquery.paths import display_path, real_path
from simquery.version import __version__

__all__ = ["Entry", "Ledger", "Status", "gone_entry", "refused_entry"]


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
    ``models`` have embedded it; those in ``refused_by`` found nothing in it (zero or infinite features). ``rule`` is
    the option that left it out. ``gone_at`` says since when the path is known to be gone: an entry is never deleted.
    """

    candidate: EvidenceFile
    status: Status
    sha256: str | None = None
    reason: str | None = None
    models: tuple[str, ...] = ()
    refused_by: tuple[str, ...] = ()
    rule: str | None = None
    earlier: tuple[dict[str, Any], ...] = ()
    recorded_at: str = ""
    gone_at: str | None = None
    revision: tuple[int, int] | None = None
    """Sequence number and primary term, by which a write finds out that somebody else was faster."""

    def is_final(self, candidate: EvidenceFile, models: Iterable[str], rules: Container[str] = ()) -> bool:
        """Whether the path needs no second look: unchanged, read before, and known to all these models."""
        if not self._is_same_file(candidate) or self.gone_at:
            return False
        if self.models or self.refused_by:
            return candidate.rule is not None or {*models} <= {*self.models, *self.refused_by}
        if self.rule is not None:
            return self.rule == candidate.rule or self.rule in rules
        return self.sha256 is not None or (candidate.skipped is not None and candidate.rule is None)

    def following(self, previous: "Entry | None") -> "Entry":
        """Carry over what the ledger knew before: models of the same content, the facts of an earlier one.

        A content that one model has embedded stays ``indexed`` or ``duplicate``, whatever another makes of it.
        """
        if previous is None:
            return self
        current = replace(self, revision=previous.revision, earlier=previous.earlier)
        if previous.gone_at or previous.sha256 not in (None, self.sha256):
            current = replace(current, earlier=(*previous.earlier, _was(previous)))
        if previous.sha256 != self.sha256:
            return current
        known = replace(previous, candidate=self.candidate, gone_at=self.gone_at) if previous.models else current
        return replace(
            known,
            models=tuple(sorted({*previous.models, *self.models})),
            refused_by=tuple(sorted({*previous.refused_by, *self.refused_by})),
            earlier=current.earlier,
        )

    def _is_same_file(self, candidate: EvidenceFile) -> bool:
        was = self.candidate
        return (was.size, was.mtime_ns) == (candidate.size, candidate.mtime_ns)


class Ledger:
    """Reads and writes the ledger's index."""

    def __init__(self, cluster: Cluster, index: str) -> None:
        self._cluster = cluster
        self._index = index

    def lookup(self, candidates: Sequence[EvidenceFile]) -> list[Entry | None]:
        """Entries of some paths, None for a path that was never seen; sees writes of a moment ago."""
        found = self._cluster.found(self._index, [_entry_id(candidate.path) for candidate in candidates])
        return [
            _entry(candidate.path, document) if document["found"] else None
            for candidate, document in zip(candidates, found, strict=True)
        ]

    def record(self, entries: Sequence[Entry]) -> None:
        """Write entries; each follows what the ledger has for its path, also what somebody else wrote just now."""
        while entries:
            answers = self._cluster.bulk(self._index, map(_operation, entries), return_conflicts=True)
            entries = [entry for entry, answer in zip(entries, answers, strict=True) if answer["status"] == CONFLICT]
            found = self.lookup([entry.candidate for entry in entries])
            entries = [entry.following(current) for entry, current in zip(entries, found, strict=True)]

    def below(self, *folders: Path) -> Iterator[list[Entry]]:
        """Entries of all paths below some folders, and of these paths themselves, in groups, in the order of the texts.

        The server takes some hundred folders at once.
        """
        texts = [display_path(folder) for folder in folders]
        inside = [{"prefix": {"path": text.rstrip("/") + "/"}} for text in texts]
        query = {"bool": {"should": [{"terms": {"path": texts}}, *inside]}}
        for hits in self._cluster.pages(self._index, query, "path"):
            yield [_entry(real_path(hit["_source"]["path"]), hit) for hit in hits]


def refused_entry(candidate: EvidenceFile, content: str, models: Sequence[str]) -> Entry:
    """Entry of a picture in which networks find nothing."""
    names = " and ".join(f"'{model}'" for model in models)
    reason = f"model {names} finds nothing in it (zero or infinite features)"
    return Entry(candidate, Status.UNREADABLE, content, reason, refused_by=tuple(models))


def gone_entry(entry: Entry) -> Entry:
    """The entry of a path that is not there any more."""
    return replace(entry, gone_at=_now())


def _was(entry: Entry) -> dict[str, Any]:
    was = {
        "sha256": entry.sha256,
        "size": entry.candidate.size,
        "mtime_ns": str(entry.candidate.mtime_ns),
        "recorded_at": entry.recorded_at,
        "gone_at": entry.gone_at,
    }
    return {name: value for name, value in was.items() if value is not None}


def _operation(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    target: dict[str, Any] = {"_id": _entry_id(entry.candidate.path)}
    if entry.revision is None:
        return {"create": target}, _document(entry)
    sequence, term = entry.revision
    return {"index": {**target, "if_seq_no": sequence, "if_primary_term": term}}, _document(entry)


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
        "rule": entry.rule,
        "gone_at": entry.gone_at,
        "recorded_at": _now(),
        "version": __version__,
    }
    return {name: value for name, value in document.items() if value not in (None, [])}


def _entry(path: Path, found: dict[str, Any]) -> Entry:
    document = found["_source"]
    return Entry(
        EvidenceFile(path, document["size"], int(document["mtime_ns"])),
        Status(document["status"]),
        document.get("sha256"),
        document.get("reason"),
        tuple(document.get("models", ())),
        tuple(document.get("refused_by", ())),
        document.get("rule"),
        tuple(document.get("earlier", ())),
        document["recorded_at"],
        document.get("gone_at"),
        (found["_seq_no"], found["_primary_term"]),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _iso(mtime_ns: int) -> str | None:
    # date_nanos holds 1970 to 2262; a file dated outside of that has its time in mtime_ns alone.
    if not 0 <= mtime_ns < 2**63:
        return None
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
