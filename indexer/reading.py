"""Reading one evidence file: its digests first, and what stands in the way of using it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader

from simquery.embedders.pictures import Digests, NotAPictureError, digests_of, is_picture_name, open_evidence
from simquery.errors import PictureError
from simquery.indexer.candidates import VANISHED, Candidate

__all__ = ["CHANGED", "Obstacle", "has_changed", "hash_file", "obstacle", "unread_reason"]

CHANGED = "changed while it was read"


@dataclass(frozen=True)
class Obstacle:
    """Why a file was not indexed.

    ``skipped``: it is none of ours (a text file). Otherwise it should have been a picture, and counts as unreadable.
    ``rule``: the option that left it out; a run without that option looks at it again.
    """

    reason: str
    skipped: bool = False
    rule: str | None = None


def hash_file(candidate: Candidate, stopped: Callable[[], bool]) -> Digests | Obstacle:
    """Digests of a candidate's content; given up when ``stopped`` says so, for a disk image takes minutes."""
    if candidate.skipped:
        return Obstacle(candidate.skipped, skipped=True, rule=candidate.rule)
    if candidate.unreadable:
        return Obstacle(candidate.unreadable)
    try:
        with open_evidence(candidate.path) as file:
            digests = digests_of(file, stopped)
            return Obstacle(CHANGED) if has_changed(file, candidate) else digests
    except OSError as error:
        return Obstacle(unread_reason(error))


def obstacle(candidate: Candidate, error: PictureError) -> Obstacle:
    """What an error in the content means for one of its paths: text is no loss unless it is named as a picture."""
    if not isinstance(error, NotAPictureError):
        return Obstacle(str(error))
    named_as_picture = is_picture_name(candidate.path)
    if candidate.size == 0:
        return Obstacle("empty file (0 bytes)", skipped=not named_as_picture)
    return Obstacle(f"{error}, in spite of its name") if named_as_picture else Obstacle(str(error), skipped=True)


def has_changed(file: BufferedReader, candidate: Candidate) -> bool:
    """Whether an open file is no longer what the candidate was when it was seen."""
    now = os.fstat(file.fileno())
    return (now.st_size, now.st_mtime_ns) != (candidate.size, candidate.mtime_ns)


def unread_reason(error: OSError) -> str:
    """Why a file could not be read."""
    return VANISHED if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
