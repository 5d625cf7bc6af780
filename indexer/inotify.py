"""The kernel's inotify, by the system calls that watchdog binds.

Watchdog's own observers hide lost events and failed watches (docs/adr/0032), so events are read here.
"""

import ctypes
import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator
from typing import NamedTuple

from watchdog.observers.inotify_c import InotifyConstants, Mask, WatchDescriptor
from watchdog.observers.inotify_c import inotify_add_watch as add_watch
from watchdog.observers.inotify_c import inotify_init as init
from watchdog.observers.inotify_c import inotify_rm_watch as rm_watch

__all__ = ["FLAGS", "Event", "Inotify"]

FLAGS = InotifyConstants
"""The events that masks combine."""

_HEADER = struct.Struct("iIII")
"""``struct inotify_event``, inotify(7): watch, mask, cookie, length of the name that follows."""


class Event(NamedTuple):
    """Something that happened to the entry ``name`` of the folder with descriptor ``watch``."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """An inotify instance, for one thread.

    Raises
    ------
    OSError
        When the system does not allow another instance.
    """

    def __init__(self) -> None:
        self._descriptor = _checked(init())
        os.set_inheritable(self._descriptor, False)

    def close(self) -> None:
        """End all watches."""
        os.close(self._descriptor)

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something to `read`."""
        return self._descriptor

    def add_watch(self, path: str, mask: int) -> int:
        """Watch a path, and return the descriptor of the watch.

        Raises
        ------
        OSError
            When the system refuses, for example with ENOSPC when no watches are left.
        """
        return _checked(add_watch(self._descriptor, os.fsencode(path), Mask(mask)))

    def rm_watch(self, watch: int) -> None:
        """End a watch.

        Raises
        ------
        OSError
            With EINVAL when the watch has already ended.
        """
        _checked(rm_watch(self._descriptor, WatchDescriptor(watch)))

    def read(self) -> Iterator[Event]:
        """Yield the events since the last call, without waiting for more."""
        available = int.from_bytes(fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
        content = os.read(self._descriptor, available) if available else b""
        place = 0
        while place < len(content):
            watch, mask, _, length = _HEADER.unpack_from(content, place)
            place += _HEADER.size
            yield Event(watch, mask, content[place : place + length].rstrip(b"\0"))
            place += length


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
