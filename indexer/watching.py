"""Watching evidence folders: which paths have become complete."""

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from simquery.errors import FolderError
from simquery.indexer.candidates import VANISHED, Candidate, candidate, check_folder, is_folder, scan
from simquery.paths import display_path

__all__ = ["SETTLE_SECONDS", "Watcher"]

_GROUP = 256
"""So many files at most are handed over at once: between groups it can be stopped."""

_LONGEST_WAIT = 5.0
"""Seconds after which it looks whether the folder is still there."""

SETTLE_SECONDS = 1.0
"""A file counts as complete when its size and modification time have stood still for so long."""

logger = logging.getLogger(__name__)


class Watcher(FileSystemEventHandler):
    """Reports the files that appear or change in a folder, each once it is complete.

    It listens from ``__enter__`` on, so a scan that starts after that and the events together miss nothing.

    Parameters
    ----------
    folder
        Evidence folder, as `check_folder` returns it.
    settle_seconds
        See `SETTLE_SECONDS`.
    """

    def __init__(self, folder: Path, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._touched: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        """Start to listen."""
        check_folder(self._folder)
        self._observer = Observer()  # not before: it starts a thread of its own at once
        self._observer.schedule(
            self,
            os.fsdecode(self._folder),
            recursive=True,
            event_filter=[
                FileCreatedEvent,
                FileModifiedEvent,
                FileClosedEvent,
                FileMovedEvent,
                DirCreatedEvent,
                DirMovedEvent,
            ],
        )
        try:
            self._observer.start()
        except OSError as error:
            self._observer.on_thread_stop()
            raise FolderError(
                f"The folder '{display_path(self._folder)}' cannot be watched: {error.strerror}. On Linux, raise"
                " fs.inotify.max_user_watches if it has very many folders."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to listen."""
        self._observer.stop()
        self._observer.join()

    def stop(self) -> None:
        """Make `complete` come to its end; may be called from a signal handler or another thread."""
        self._stopped.set()
        self._touched.put(None)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take note of a path; watchdog calls this in its own thread."""
        self._touched.put(Path(os.fsdecode(event.dest_path or event.src_path)))

    def complete(self) -> Iterator[list[Candidate]]:
        """Groups of files that have become complete, until `stop` is called.

        A file that is gone again before it was complete was a temporary one, and is not reported.

        Raises
        ------
        FolderError
            When the folder itself goes away: nothing can be seen in it any more, whatever comes in its place.
        """
        settling: dict[Path, _Settling] = {}
        while not self._stopped.is_set():
            for path in self._new_paths(_until_next(settling)):
                settling[path] = _Settling(candidate(path), time.monotonic() + self._settle_seconds)
            if not is_folder(self._folder):
                raise FolderError(f"The folder '{display_path(self._folder)}' went away while it was watched.")
            ready = list(self._settled(settling))
            for start in range(0, len(ready), _GROUP):
                if not self._stopped.is_set():
                    yield ready[start : start + _GROUP]

    def _new_paths(self, timeout: float) -> Iterator[Path]:
        """Every file touched by now; waits for the first."""
        try:
            touched = self._touched.get(timeout=timeout)
            while touched is not None:
                yield from _files(touched)
                touched = self._touched.get_nowait()
        except queue.Empty:
            return

    def _settled(self, settling: dict[Path, "_Settling"]) -> Iterator[Candidate]:
        now = time.monotonic()
        for path, waiting in list(settling.items()):
            if waiting.due > now:
                continue
            current = candidate(path)
            if current.unreadable == VANISHED:
                del settling[path]
                logger.debug("'%s' is gone again", display_path(path))
            elif current == waiting.seen:
                del settling[path]
                yield current
            else:
                settling[path] = _Settling(current, now + self._settle_seconds)


@dataclass(frozen=True)
class _Settling:
    seen: Candidate
    due: float


def _until_next(settling: dict[Path, _Settling]) -> float:
    if not settling:
        return _LONGEST_WAIT
    due = min(waiting.due for waiting in settling.values())
    return min(_LONGEST_WAIT, max(0.0, due - time.monotonic()))


def _files(touched: Path) -> list[Path]:
    # A folder that is moved in brings its files along without an event for each.
    return [found.path for found in scan(touched)] if is_folder(touched) else [touched]
