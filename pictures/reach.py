"""Opening a path of any length, without changing its access time.

The kernel accepts paths of up to 4,095 bytes, but evidence may contain longer ones. These are opened in pieces, each
relative to the folder that the previous piece leads to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["look_at", "open_quietly"]

_LONGEST = 4095
"""The longest path that the kernel accepts, in bytes: PATH_MAX without the final zero."""


def look_at(path: Path) -> os.stat_result:
    """Return the ``stat`` result of a path itself; links are not followed.

    Raises
    ------
    OSError
        When the path does not exist or cannot be examined.
    """
    with _within_reach(path) as (folder, rest):
        return os.stat(rest, dir_fd=folder, follow_symlinks=False)


def open_quietly(path: Path, flags: int) -> int:
    """Open a path read-only, without changing its access time if the system allows that.

    Parameters
    ----------
    path
        Path of any length.
    flags
        Further flags for ``os.open``.

    Returns
    -------
    int
        Descriptor; the caller must close it.

    Raises
    ------
    OSError
        When the path cannot be opened.
    """
    flags |= os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    with _within_reach(path) as (folder, rest):
        try:
            return os.open(rest, flags | getattr(os, "O_NOATIME", 0), dir_fd=folder)
        except PermissionError:
            return os.open(rest, flags, dir_fd=folder)  # only the owner of a file may ask for O_NOATIME


@contextmanager
def _within_reach(path: Path) -> Iterator[tuple[int | None, bytes]]:
    """Yield a folder on the way to a path (None if none is needed), and the rest of the path from there."""
    rest = os.fsencode(path)
    folder: int | None = None
    try:
        while len(rest) > _LONGEST:
            piece, _, rest_of_it = rest[: _LONGEST + 1].rpartition(b"/")
            if not piece:
                break  # a single name is too long: the kernel will report it
            further = os.open(piece, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            if folder is not None:
                os.close(folder)
            folder, rest = further, rest_of_it + rest[_LONGEST + 1 :]
        yield folder, rest
    finally:
        if folder is not None:
            os.close(folder)
