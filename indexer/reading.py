"""Reading one evidence file: its hash first, its pixels when they are needed, a reason when either fails."""

import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from PIL import Image
from simquery.embedders.embedder import Pixels
from simquery.embedders.pictures import NotAPictureError, PictureFacts, decode, open_evidence, sha256_of
from simquery.indexer.candidates import Candidate

from simquery.errors import PictureError

__all__ = ["Obstacle", "hash_file", "read_picture"]


@dataclass(frozen=True)
class Obstacle:
    """Why a file was not indexed.

    ``skipped``: it is none of ours (a text file). Otherwise it should have been a picture, and counts as unreadable.
    """

    reason: str
    skipped: bool = False


def hash_file(candidate: Candidate) -> str | Obstacle:
    """SHA-256 (hex) of a candidate's content."""
    if candidate.skipped:
        return Obstacle(candidate.skipped, skipped=True)
    if candidate.unreadable:
        return Obstacle(candidate.unreadable)
    try:
        with open_evidence(candidate.path) as file:
            digest = sha256_of(file)
            return Obstacle("changed while it was read") if _changed(file, candidate) else digest
    except OSError as error:
        return _unread(error)


def read_picture(candidate: Candidate, size: tuple[int, int]) -> tuple[PictureFacts, Pixels] | Obstacle:
    """Facts of a picture, and its pixels at ``size`` (height, width) as uint8 of shape (height, width, 3)."""
    try:
        with open_evidence(candidate.path) as file:
            facts, (pixels,) = decode(file, [size])
            return Obstacle("changed while it was read") if _changed(file, candidate) else (facts, pixels)
    except NotAPictureError as error:
        return _not_a_picture(candidate, str(error))
    except PictureError as error:
        return Obstacle(str(error))
    except OSError as error:
        return _unread(error)


def _changed(file: BufferedReader, candidate: Candidate) -> bool:
    now = os.fstat(file.fileno())
    return (now.st_size, now.st_mtime_ns) != (candidate.size, candidate.mtime_ns)


def _unread(error: OSError) -> Obstacle:
    if isinstance(error, FileNotFoundError):
        return Obstacle("vanished before it could be read")
    return Obstacle(f"cannot be read: {error.strerror}")


def _not_a_picture(candidate: Candidate, reason: str) -> Obstacle:
    suffix = Path(candidate.path).suffix.lower()
    named_as_picture = suffix in Image.registered_extensions()
    if candidate.size == 0:
        return Obstacle("empty file (0 bytes)", skipped=not named_as_picture)
    return Obstacle(f"{reason}, in spite of its name" if named_as_picture else reason, skipped=not named_as_picture)
