"""Reaching what lies at a path: without following links, without changing access times, and at any depth.

The kernel takes paths of 4,095 bytes at most, and evidence may hold longer ones. Such a path is walked in pieces: each
piece is opened relative to the folder that the one before it led to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["look_at", "open_quietly"]

_LONGEST = 4095
"""Bytes in a path that the kernel takes: PATH_MAX without its final zero."""


def look_at(path: Path) -> os.stat_result:
    """What the file system says of a path itself, not of what a link leads to.

    Raises
    ------
    OSError
        When there is nothing, or it cannot be looked at.
    """
    with _within_reach(path) as (folder, rest):
        return os.stat(rest, dir_fd=folder, follow_symlinks=False)


def open_quietly(path: Path, flags: int) -> int:
    """Open a path for reading, leaving its access time alone where the system allows that.

    Parameters
    ----------
    path
        Of any length.
    flags
        For ``os.open``, in addition to those that every opening gets.

    Returns
    -------
    int
        A descriptor, which the caller closes.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    flags |= os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    with _within_reach(path) as (folder, rest):
        try:
            return os.open(rest, flags | getattr(os, "O_NOATIME", 0), dir_fd=folder)
        except PermissionError:
            return os.open(rest, flags, dir_fd=folder)  # only the owner of a file may ask for O_NOATIME


@contextmanager
def _within_reach(path: Path) -> Iterator[tuple[int | None, bytes]]:
    """A folder on the way to a path (None: no folder is needed), and the rest of the path from there."""
    rest = os.fsencode(path)
    folder: int | None = None
    try:
        while len(rest) > _LONGEST:
            piece, _, rest_of_it = rest[: _LONGEST + 1].rpartition(b"/")
            if not piece:
                break  # a single name that long: the kernel says so
            further = os.open(piece, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            if folder is not None:
                os.close(folder)
            folder, rest = further, rest_of_it + rest[_LONGEST + 1 :]
        yield folder, rest
    finally:
        if folder is not None:
            os.close(folder)
