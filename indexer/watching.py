"""Watching evidence folders: which paths have become complete, and which are gone."""

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from simquery.errors import FolderError
from simquery.indexer.evidence import EvidenceFile, check_folder, inspect, is_folder, is_gone, scan
from simquery.paths import display_path
from simquery.pictures.files import VANISHED

__all__ = ["BURST", "SETTLE_SECONDS", "Change", "Watcher"]

_GROUP = 256
"""So many files at most are handed over at once: between groups it can be stopped."""

_LONGEST_WAIT = 5.0
"""Seconds after which it looks whether the folders are still there."""

SETTLE_SECONDS = 1.0
"""A file counts as complete when its size and modification time have stood still for so long."""

BURST = 8192
"""After so many events without a pause the folders are looked through again: half of what the kernel keeps by default
before it drops events, so none that was dropped is missed."""

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What has happened: files that have become complete, and paths (of files or folders) that are gone."""

    files: list[EvidenceFile]
    gone: list[Path]


class Watcher(FileSystemEventHandler):
    """Reports the files that appear or change in folders, each once it is complete, and the paths that go.

    It listens from ``__enter__`` on, so a scan that starts after that and the changes together miss nothing.

    Parameters
    ----------
    folders
        Evidence folders, as `check_folders` returns them.
    settle_seconds
        See `SETTLE_SECONDS`.
    poll_seconds
        Look through the folders so often instead of listening: network shares send no events of other machines.
    burst
        See `BURST`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        settle_seconds: float = SETTLE_SECONDS,
        poll_seconds: float | None = None,
        burst: int = BURST,
    ) -> None:
        self._folders = folders
        self._settle_seconds = settle_seconds
        self._poll_seconds = poll_seconds
        self._burst = burst
        self._touched: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._events = 0
        self._seen: dict[Path, EvidenceFile] = {}
        self._next_poll = 0.0

    def __enter__(self) -> Self:
        """Start to listen, or take the first look."""
        for folder in self._folders:
            check_folder(folder)
        if self._poll_seconds is not None:
            self._poll()
            return self
        self._observer = Observer()  # not before: it starts a thread of its own at once
        for folder in self._folders:
            self._observer.schedule(self, os.fsdecode(folder), recursive=True, event_filter=_EVENTS)
        try:
            self._observer.start()
        except OSError as error:
            self._observer.on_thread_stop()
            raise FolderError(
                f"The folders cannot be watched: {error.strerror}. On Linux, raise fs.inotify.max_user_watches if there"
                " are very many folders, or use --poll."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to listen."""
        if self._poll_seconds is None:
            self._observer.stop()
            self._observer.join()

    @property
    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Make `changes` come to its end; may be called from a signal handler or another thread."""
        self._stopped.set()
        self._touched.put(None)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take note of paths; watchdog calls this in its own thread."""
        for path in (event.src_path, event.dest_path):
            if path:
                self._touched.put(Path(os.fsdecode(path)))

    def changes(self) -> Iterator[Change]:
        """What has become complete or is gone, until `stop` is called.

        A file that was never complete before it was gone again was a temporary one: the ledger does not know it.

        Raises
        ------
        FolderError
            When a folder itself goes away: nothing can be seen in it any more, whatever comes in its place.
        """
        settling: dict[Path, _Settling] = {}
        while not self._stopped.is_set():
            gone: dict[Path, None] = {}
            for path in self._new_paths(self._until_next(settling)):
                if is_gone(path):
                    gone[path] = None
                for file in scan(path) if is_folder(path) else [inspect(path)]:
                    settling[file.path] = _Settling(file, time.monotonic() + self._settle_seconds)
            self._check_folders()
            ready = list(self._settled(settling))
            if gone:
                yield Change([], list(gone))
            for start in range(0, len(ready), _GROUP):
                if not self._stopped.is_set():
                    yield Change(ready[start : start + _GROUP], [])

    def _check_folders(self) -> None:
        for folder in self._folders:
            if not is_folder(folder):
                raise FolderError(f"The folder '{display_path(folder)}' went away while it was watched.")

    def _new_paths(self, timeout: float) -> Iterator[Path]:
        """Every path touched by now, once; waits for the first."""
        touched: dict[Path, None] = {}
        if self._poll_seconds is not None and time.monotonic() >= self._next_poll:
            touched |= dict.fromkeys(self._poll())
        try:
            path = self._touched.get(timeout=0 if touched else timeout)
            while path is not None:
                touched[path] = None
                self._events += 1
                path = self._touched.get_nowait()
        except queue.Empty:
            if self._events >= self._burst:
                logger.info("so many events at once that some may be missing: looking through the folders again")
                touched |= dict.fromkeys(self._folders)
            if not touched or self._events >= self._burst:
                self._events = 0
        return iter(touched)

    def _poll(self) -> list[Path]:
        """Paths that have changed since the last look."""
        now = {file.path: file for folder in self._folders for file in scan(folder)}
        changed = [path for path, file in now.items() if self._seen.get(path) != file]
        changed += [path for path in self._seen if path not in now]
        self._seen = now
        self._next_poll = time.monotonic() + (self._poll_seconds or 0.0)
        return changed

    def _settled(self, settling: dict[Path, "_Settling"]) -> Iterator[EvidenceFile]:
        now = time.monotonic()
        for path, waiting in list(settling.items()):
            if waiting.due > now:
                continue
            current = inspect(path)
            if current.unreadable == VANISHED:
                del settling[path]
                logger.debug("'%s' is gone again", display_path(path))
            elif current == waiting.seen:
                del settling[path]
                yield current
            else:
                settling[path] = _Settling(current, now + self._settle_seconds)

    def _until_next(self, settling: dict[Path, "_Settling"]) -> float:
        moments = [waiting.due for waiting in settling.values()]
        if self._poll_seconds is not None:
            moments.append(self._next_poll)
        return min(_LONGEST_WAIT, max(0.0, min(moments, default=float("inf")) - time.monotonic()))


@dataclass(frozen=True)
class _Settling:
    seen: EvidenceFile
    due: float
