"""Evidence files: opened read-only, identified by their content."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from simquery.pictures.reach import open_quietly

__all__ = [
    "CHANGED",
    "EMPTY",
    "VANISHED",
    "Digests",
    "FileState",
    "digests_of",
    "has_changed",
    "open_evidence",
    "sha256_of",
    "unread_reason",
]

CHANGED = "changed while it was read"
EMPTY = "empty file (0 bytes)"
VANISHED = "vanished before it could be read"

_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileState:
    """Size in bytes and modification time in nanoseconds since 1970, which differ after a file has changed."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: BufferedReader) -> "FileState":
        """Return the state of an open file."""
        facts = os.fstat(file.fileno())
        return cls(facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True)
class Digests:
    """Digests of a file's content, in hex: SHA-256, and MD5 for the hash sets of other tools."""

    sha256: str
    md5: str


@contextlib.contextmanager
def open_evidence(path: Path) -> Iterator[BufferedReader]:
    """Open a file read-only, without changing its access time if the system allows that.

    Raises
    ------
    OSError
        When the file cannot be opened, or is not a regular file: reading a pipe would wait for its writer.
    """
    descriptor = open_quietly(path, getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file", str(path))
        yield file


def digests_of(file: BufferedReader, stopped: Callable[[], bool] = lambda: False) -> Digests:
    """Return the digests of a whole file, in constant memory; the position is at the start afterwards.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` returns true.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for block in _blocks(file, stopped):
        sha256.update(block)
        md5.update(block)
    return Digests(sha256.hexdigest(), md5.hexdigest())


def sha256_of(file: BufferedReader, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 (hex) of a whole file, in constant memory; the position is at the start afterwards.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` returns true.
    """
    digest = hashlib.sha256()
    for block in _blocks(file, stopped):
        digest.update(block)
    return digest.hexdigest()


def has_changed(file: BufferedReader, state: FileState) -> bool:
    """Return whether an open file has changed since it was in a state."""
    return FileState.of(file) != state


def unread_reason(error: OSError) -> str:
    """Return why a file could not be read."""
    return VANISHED if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"


def _blocks(file: BufferedReader, stopped: Callable[[], bool]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK):
        if stopped():
            raise InterruptedError
        yield block
    file.seek(0)
