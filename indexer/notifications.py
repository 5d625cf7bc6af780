"""The kernel's notifications about watched folders (inotify), and whether any were lost."""

import errno
import logging
import os
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from simquery.indexer.inotify import FLAGS, Inotify
from simquery.paths import display_path

__all__ = ["Kind", "Notice", "Notifications"]

logger = logging.getLogger(__name__)

_COMES = FLAGS.IN_CREATE | FLAGS.IN_MOVED_TO
_GOES = FLAGS.IN_DELETE | FLAGS.IN_MOVED_FROM
_MASK = (
    _COMES | _GOES | FLAGS.IN_MODIFY | FLAGS.IN_CLOSE_WRITE | FLAGS.IN_ATTRIB | FLAGS.IN_ONLYDIR | FLAGS.IN_EXCL_UNLINK
)


class Kind(Enum):
    """Kind of change to a path."""

    FOLDER = auto()
    """A folder has appeared, or its permissions have changed."""
    TOUCHED = auto()
    """A file has appeared, or its times or permissions have changed; whether it is complete is unknown."""
    WRITTEN = auto()
    """A file is being written."""
    COMPLETE = auto()
    """A file was closed after it was written, or was moved here."""
    GONE = auto()
    """A file or folder has disappeared; another one may have taken its place."""


class Notice(NamedTuple):
    """One change to a path."""

    path: Path
    kind: Kind


class Notifications:
    """Watch single folders, but not the folders inside them.

    Attributes
    ----------
    overflowed
        Whether the kernel has dropped events since this was last set to False.
    unmounted
        Whether a disk was unmounted since this was last set to False; the watches on it are gone.

    Raises
    ------
    OSError
        When the system does not allow another watcher.
    """

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._folders: dict[int, bytes] = {}
        self._is_limited = False
        self.overflowed = False
        self.unmounted = False

    def close(self) -> None:
        """End all watches."""
        self._inotify.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something to `read`."""
        return self._inotify.fileno()

    def add(self, folder: bytes, descriptor: int) -> None:
        """Watch a folder from now on; if the system refuses, warn once and continue without.

        Parameters
        ----------
        folder
            Its path.
        descriptor
            Descriptor of the folder, since its path may be too long for the kernel.
        """
        try:
            self._folders[self._inotify.add_watch(f"/proc/self/fd/{descriptor}", _MASK)] = folder
        except OSError as error:
            if not self._is_limited:
                advice = "; to avoid this, raise fs.inotify.max_user_watches" if error.errno == errno.ENOSPC else ""
                logger.warning(
                    "The system cannot watch '%s' and possibly other folders (%s). They are scanned every few minutes"
                    " instead%s.",
                    display_path(Path(os.fsdecode(folder))),
                    "no watches are left" if error.errno == errno.ENOSPC else error.strerror,
                    advice,
                )
            self._is_limited = True

    def read(self) -> Iterator[Notice]:
        """Yield what has happened since the last call, without waiting."""
        moved: set[bytes] = set()
        for watch, mask, name in self._inotify.read():
            if mask & FLAGS.IN_Q_OVERFLOW:
                self.overflowed = True
            elif mask & FLAGS.IN_UNMOUNT:
                self.unmounted = True
            elif mask & FLAGS.IN_IGNORED:
                self._folders.pop(watch, None)
            elif name and watch in self._folders:
                path = os.path.join(self._folders[watch], name)  # noqa: PTH118  (bytes)
                if mask & FLAGS.IN_ISDIR and mask & FLAGS.IN_MOVED_FROM:
                    moved.add(path)
                yield Notice(Path(os.fsdecode(path)), _kind(mask))
        if moved:
            self._forget(moved)

    def _forget(self, moved: set[bytes]) -> None:
        """End the watches of folders that were moved away; if they are still evidence, they are watched again."""
        for watch, folder in list(self._folders.items()):
            if any(folder == path or folder.startswith(path + b"/") for path in moved):
                del self._folders[watch]
                try:
                    self._inotify.rm_watch(watch)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # the kernel has already ended it
                        raise


def _kind(mask: int) -> Kind:
    if mask & _GOES:
        return Kind.GONE
    if mask & FLAGS.IN_ISDIR:
        return Kind.FOLDER
    if mask & FLAGS.IN_MODIFY:
        return Kind.WRITTEN
    return Kind.COMPLETE if mask & (FLAGS.IN_CLOSE_WRITE | FLAGS.IN_MOVED_TO) else Kind.TOUCHED
