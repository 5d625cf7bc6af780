"""The ledger of a case: one entry for each path seen, with its status and the reason for it."""

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
from simquery.indexer.texts import with_fitting_texts
from simquery.paths import display_path, real_path
from simquery.version import __version__

__all__ = ["Entry", "Ledger", "Status", "gone_entry"]


_WHOLE = frozenset({"path"})
"""The path of an entry is never cut, because the file could not be found again."""


class Status(StrEnum):
    """The result for a path."""

    INDEXED = "indexed"
    """The first path with its content, which has a document."""
    DUPLICATE = "duplicate"
    """Its content was already indexed from another path; the document lists both."""
    UNREADABLE = "unreadable"
    """It could not be read, or it should be a picture but is unusable; the reason says why."""
    SKIPPED = "skipped"
    """It is not a picture, or an option leaves it out; the reason says why."""


@dataclass(frozen=True)
class Entry:
    """One path in the ledger.

    Attributes
    ----------
    file
        The path, with the size and modification time that it had.
    status, reason
        The result for the path, and the reason.
    sha256
        None if the content could not be read this time; the next run tries such a path again.
    models, refused_by
        The models that have embedded its content, and those whose vector of it cannot be used.
    rule
        The option that leaves it out.
    earlier
        Facts of the entries that it replaces: earlier contents of the path, and when it was gone.
    recorded_at
        When the entry was written (ISO 8601, UTC).
    gone_at
        When the path was found to be gone; an entry is never deleted.
    revision
        Sequence number and primary term, with which the server refuses to overwrite another client's newer entry.
    """

    file: EvidenceFile
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

    def is_final(self, file: EvidenceFile, models: Iterable[str], rules: Container[str] = ()) -> bool:
        """Return whether the path needs no other look: it is unchanged, was read, and is known to all these models."""
        if not self._is_same_file(file) or self.gone_at:
            return False
        if self.models or self.refused_by:
            return file.rule is not None or {*models} <= {*self.models, *self.refused_by}
        if self.rule is not None:
            return self.rule == file.rule or self.rule in rules
        return self.sha256 is not None or (file.skipped is not None and file.rule is None)

    def following(self, previous: "Entry | None") -> "Entry":
        """Return the entry with facts of the previous one: models of the same content, or an earlier content.

        A content that one model has embedded stays ``indexed`` or ``duplicate``, even if another model cannot use it.
        """
        if previous is None:
            return replace(self, revision=None)
        gone_at = self.gone_at and (previous.gone_at or self.gone_at)
        current = replace(self, revision=previous.revision, earlier=previous.earlier, gone_at=gone_at)
        came_back = previous.gone_at and not self.gone_at
        if came_back or previous.sha256 not in (None, self.sha256):
            current = replace(current, earlier=(*previous.earlier, _was(previous)))
        if previous.sha256 != self.sha256:
            return current
        known = replace(previous, file=self.file, gone_at=gone_at) if previous.models else current
        return replace(
            known,
            models=tuple(sorted({*previous.models, *self.models})),
            refused_by=tuple(sorted({*previous.refused_by, *self.refused_by})),
            earlier=current.earlier,
        )

    def _is_same_file(self, file: EvidenceFile) -> bool:
        was = self.file
        return (was.size, was.mtime_ns) == (file.size, file.mtime_ns)


class Ledger:
    """Read and write the ledger's index."""

    def __init__(self, cluster: Cluster, index: str) -> None:
        self._cluster = cluster
        self._index = index

    def lookup(self, files: Sequence[EvidenceFile]) -> list[Entry | None]:
        """Return the entries of some paths, None for a path never seen; this sees the latest writes."""
        found = self._cluster.found(self._index, [_entry_id(file.path) for file in files])
        return [
            _entry(file.path, document) if document["found"] else None
            for file, document in zip(files, found, strict=True)
        ]

    def record(self, entries: Sequence[Entry]) -> None:
        """Write entries, each following the ledger's current entry for its path, even if another client just wrote it.

        An entry that is already in the ledger is not written again: the first request succeeded, but its answer was
        lost.
        """
        while entries:
            stamped = [replace(entry, recorded_at=_now()) for entry in entries]
            answers = self._cluster.bulk(self._index, map(_operation, stamped), return_conflicts=True)
            refused = [entry for entry, answer in zip(stamped, answers, strict=True) if answer["status"] == CONFLICT]
            found = self.lookup([entry.file for entry in refused])
            entries = [
                entry.following(current)
                for entry, current in zip(refused, found, strict=True)
                if current is None or _document(current) != _document(entry)
            ]

    def below(self, *folders: Path) -> Iterator[list[Entry]]:
        """Yield, in groups and in the order of the path texts, the entries of some folders and of all paths below them.

        The server accepts some hundred folders at once.
        """
        texts = [display_path(folder) for folder in folders]
        inside = [{"prefix": {"path": text.rstrip("/") + "/"}} for text in texts]
        query = {"bool": {"should": [{"terms": {"path": texts}}, *inside]}}
        for hits in self._cluster.pages(self._index, query, "path"):
            yield [_entry(real_path(hit["_source"]["path"]), hit) for hit in hits]

    def refresh(self) -> None:
        """Make everything that was recorded visible to searches."""
        self._cluster.ask(lambda client: client.indices.refresh(index=self._index))


def gone_entry(entry: Entry) -> Entry:
    """Return the entry of a path that no longer exists."""
    return replace(entry, gone_at=_now())


def _was(entry: Entry) -> dict[str, Any]:
    was = {
        "sha256": entry.sha256,
        "size": entry.file.size,
        "mtime_ns": str(entry.file.mtime_ns),
        "recorded_at": entry.recorded_at,
        "gone_at": entry.gone_at,
    }
    return {name: value for name, value in was.items() if value is not None}


def _operation(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    target: dict[str, Any] = {"_id": _entry_id(entry.file.path)}
    if entry.revision is None:
        return {"create": target}, _document(entry)
    sequence, term = entry.revision
    return {"index": {**target, "if_seq_no": sequence, "if_primary_term": term}}, _document(entry)


def _entry_id(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _document(entry: Entry) -> dict[str, Any]:
    file = entry.file
    document = {
        "path": display_path(file.path),
        "size": file.size,
        "mtime": _iso(file.mtime_ns),
        "mtime_ns": str(file.mtime_ns),
        "sha256": entry.sha256,
        "status": str(entry.status),
        "reason": entry.reason,
        "models": list(entry.models),
        "refused_by": list(entry.refused_by),
        "earlier": list(entry.earlier),
        "rule": entry.rule,
        "gone_at": entry.gone_at,
        "recorded_at": entry.recorded_at,
        "version": __version__,
    }
    known = {name: value for name, value in document.items() if value not in (None, [])}
    return with_fitting_texts(known, without=_WHOLE)


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
    # date_nanos covers 1970 to 2262; for other dates, only mtime_ns has the time of a file.
    if not 0 <= mtime_ns < 2**63:
        return None
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
