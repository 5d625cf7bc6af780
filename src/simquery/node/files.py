"""Files on the local disk: free space, scratch folders, checksums, atomic writes."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simquery.errors import DiskSpaceError, NodeError

__all__ = [
    "checksum",
    "disk_errors",
    "human_size",
    "remove_scratch",
    "require_space",
    "scratch_folder",
    "write_atomically",
]

SCRATCH = ".fetching-"


def human_size(size: float) -> str:
    """Return a number of bytes in readable form: ``947 MB``, ``1.3 GB``."""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:  # noqa: PLR2004
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def require_space(folder: Path, need: int, purpose: str) -> None:
    """Check that a file system has enough free space.

    Parameters
    ----------
    folder
        A folder on that file system; it need not exist yet.
    need
        Bytes that must be free.
    purpose
        What they are for, as a plural: the message says "... need 2 GB".

    Raises
    ------
    DiskSpaceError
        When fewer bytes are free.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise DiskSpaceError(
            f"Only {human_size(free)} are free at '{folder}', but {purpose} need {human_size(need)}. "
            f"Free some space, or use another disk (SIMQUERY_HOME, SIMQUERY_CACHE)."
        )


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into errors of simquery."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskSpaceError(f"The disk became full while writing '{target}'.") from None
        raise NodeError(f"'{target}' cannot be written: {error.strerror or error}.") from None


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder beside the final place; at the end, remove it with everything left in it."""
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch(parent: Path) -> None:
    """Remove what a killed download has left behind. No other process may be downloading at the same time."""
    for folder in parent.glob(f"{SCRATCH}*"):
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, text: str, mode: int, *, uid: int = -1, gid: int = -1) -> None:
    """Replace a file as a whole, without following a link that somebody may have put in its place.

    Parameters
    ----------
    path, text, mode
        File, content, permissions. The content is never readable with wider permissions than these.
    uid, gid
        Owner and group of the file; -1 for the caller's.

    Raises
    ------
    NodeError
        When the file cannot be written.
    """
    with disk_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fchown(stream.fileno(), uid, gid)
                os.fchmod(stream.fileno(), mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def checksum(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
