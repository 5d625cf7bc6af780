"""Reading one evidence file: its hash first, its pixels when they are needed, a reason when either fails."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader

from simquery.embedders.embedder import Pixels
from simquery.embedders.pictures import (
    NotAPictureError,
    PictureFacts,
    UnreadError,
    decode,
    is_picture_name,
    open_evidence,
    sha256_of,
)
from simquery.errors import PictureError
from simquery.indexer.candidates import VANISHED, Candidate

__all__ = ["Obstacle", "hash_file", "obstacle", "read_picture"]

_CHANGED = "changed while it was read"


@dataclass(frozen=True)
class Obstacle:
    """Why a file was not indexed.

    ``skipped``: it is none of ours (a text file). Otherwise it should have been a picture, and counts as unreadable.
    """

    reason: str
    skipped: bool = False


def hash_file(candidate: Candidate, stopped: Callable[[], bool]) -> str | Obstacle:
    """SHA-256 (hex) of a candidate's content; given up when ``stopped`` says so, for a disk image takes minutes."""
    if candidate.skipped:
        return Obstacle(candidate.skipped, skipped=True)
    if candidate.unreadable:
        return Obstacle(candidate.unreadable)
    try:
        with open_evidence(candidate.path) as file:
            digest = sha256_of(file, stopped)
            return Obstacle(_CHANGED) if _changed(file, candidate) else digest
    except OSError as error:
        return _unread(error)


def read_picture(candidate: Candidate, size: tuple[int, int]) -> tuple[PictureFacts, Pixels] | PictureError:
    """Facts of a picture, and its pixels at ``size`` (height, width) as uint8 of shape (height, width, 3).

    An error is returned, not raised. An `UnreadError` concerns this path and this time; any other concerns every path
    with the same content, see `obstacle`.
    """
    try:
        with open_evidence(candidate.path) as file:
            facts, (pixels,) = decode(file, [size])
            return UnreadError(_CHANGED) if _changed(file, candidate) else (facts, pixels)
    except PictureError as error:
        return error
    except OSError as error:
        return UnreadError(_unread(error).reason)


def obstacle(candidate: Candidate, error: PictureError) -> Obstacle:
    """What an error in the content means for one of its paths: text is no loss unless it is named as a picture."""
    if not isinstance(error, NotAPictureError):
        return Obstacle(str(error))
    named_as_picture = is_picture_name(candidate.path)
    if candidate.size == 0:
        return Obstacle("empty file (0 bytes)", skipped=not named_as_picture)
    return Obstacle(f"{error}, in spite of its name") if named_as_picture else Obstacle(str(error), skipped=True)


def _changed(file: BufferedReader, candidate: Candidate) -> bool:
    now = os.fstat(file.fileno())
    return (now.st_size, now.st_mtime_ns) != (candidate.size, candidate.mtime_ns)


def _unread(error: OSError) -> Obstacle:
    if isinstance(error, FileNotFoundError):
        return Obstacle(VANISHED)
    return Obstacle(f"cannot be read: {error.strerror or error}")
