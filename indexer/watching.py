"""Watching evidence folders: which files are complete, and which paths have disappeared."""

import logging
import math
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from simquery.errors import FolderError
from simquery.indexer.absence import is_suspicious
from simquery.indexer.evidence import EvidenceFile, check_folder, inspect, is_folder
from simquery.indexer.filesystems import away, filesystems, lies_below
from simquery.indexer.inventory import Inventory, Missing
from simquery.indexer.notifications import Kind, Notifications
from simquery.paths import display_path
from simquery.pictures.files import VANISHED

__all__ = ["OPEN_SECONDS", "QUIET_SECONDS", "RECONCILE_SECONDS", "SETTLE_SECONDS", "Change", "Watcher"]

SETTLE_SECONDS = 1.0
"""Seconds that a file must stay unchanged after it was closed or moved in."""

QUIET_SECONDS = 10.0
"""Seconds that a file must stay unchanged when it is unknown whether it is still being written."""

OPEN_SECONDS = 300.0
"""Seconds that a file must stay unchanged if it was written and has not been closed."""

RECONCILE_SECONDS = 300.0
"""Seconds between scans of the folders, whatever the kernel reports."""

_GROUP = 256
"""Number of files that are reported at once; the watcher can be stopped between two groups."""

_LONGEST_WAIT = 5.0
"""Seconds between checks that the folders exist."""

_MOST_SETTLING = 10_000
"""Number of settling files at which a look pauses, so that memory stays bounded."""

_MOST_NOTED = 100_000
"""Number of single changes after which the folders are scanned at once, so that memory stays bounded."""

_SLICE = 0.5
"""Seconds after which a look pauses to read events, because the kernel keeps only a limited number."""

_SHARE = 20
"""Looks take at most one part in this many of the time."""

_LONGEST_BURST = 60.0
"""Seconds without events that a scan waits for after some were dropped."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """A change: files that are complete, and paths (of files or folders) that have disappeared."""

    files: list[EvidenceFile]
    gone: list[Path]


@dataclass(frozen=True)
class _Settling:
    seen: EvidenceFile
    kind: Kind
    due: float
    is_listed: bool
    """Whether a look has found it in this state."""


class Watcher:
    """Report files that appear or change in folders, each once it is complete, and paths that disappear.

    The watcher listens from ``__enter__`` on, so that a later scan and the changes together miss nothing. The kernel
    may drop events, or refuse to watch more folders. Therefore the watcher also scans the folders from time to time,
    and as soon as they are quiet after events were dropped.

    Files that are missing because their disk was unmounted are not reported as gone.

    Parameters
    ----------
    folders
        Evidence folders, as `check_folders` returns them.
    settle_seconds, quiet_seconds, open_seconds
        See `SETTLE_SECONDS`, `QUIET_SECONDS` and `OPEN_SECONDS`.
    poll_seconds
        Scan the folders this often instead of listening: network shares do not report what other machines write.
    reconcile_seconds
        See `RECONCILE_SECONDS`; folders that take long to scan are scanned less often.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        settle_seconds: float = SETTLE_SECONDS,
        poll_seconds: float | None = None,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        open_seconds: float = OPEN_SECONDS,
        reconcile_seconds: float = RECONCILE_SECONDS,
    ) -> None:
        self._folders = folders
        self._quiet_seconds = quiet_seconds
        self._waits = {Kind.COMPLETE: settle_seconds, Kind.TOUCHED: settle_seconds, Kind.WRITTEN: open_seconds}
        self._polls = poll_seconds is not None
        self._look_seconds = poll_seconds or reconcile_seconds
        self._stopped = threading.Event()
        self._alarm, self._bell = -1, -1
        self._settling: dict[Path, _Settling] = {}
        self._looks: deque[Iterator[EvidenceFile | Missing]] = deque()
        self._look_is_due = math.inf
        self._look_began = 0.0
        self._is_looking = False
        self._lost_since: float | None = None
        self._has_overflowed = False

    def __enter__(self) -> Self:
        """Start listening, and take the inventory.

        Raises
        ------
        FolderError
            When a folder cannot be read, or the system allows no more watchers.
        """
        for folder in self._folders:
            check_folder(folder)
        self._notifications = None if self._polls else _notifications()
        self._alarm, self._bell = os.pipe()
        self._filesystems = self._expected = self._present()
        self._away: list[Path] = []
        began = time.monotonic()
        self._inventory = Inventory(self._folders, self._notifications.add if self._notifications else _ignore)
        self._inventory.begin()
        self._plan_look(began)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._stopped.set()
        os.close(self._bell)
        os.close(self._alarm)
        if self._notifications:
            self._notifications.close()

    @property
    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End `changes`; may be called from a signal handler or another thread."""
        if not self._stopped.is_set():
            self._stopped.set()
            if self._bell >= 0:
                os.write(self._bell, b"!")

    def changes(self) -> Iterator[Change]:
        """Yield files that are complete and paths that have disappeared, until `stop` is called.

        Raises
        ------
        FolderError
            When a watched folder itself disappears while its disk stays mounted.
        """
        while not self._stopped.is_set():
            self._wait(self._until_next())
            gone = self._hear()
            gone += self._look()
            self._check_folders()
            ready = list(self._settled())
            gone = [path for path in gone if not lies_below(path, self._away)]
            for start in range(0, len(gone), _GROUP):
                yield Change([], gone[start : start + _GROUP])
            for start in range(0, len(ready), _GROUP):
                if not self._stopped.is_set():
                    yield Change(ready[start : start + _GROUP], [])

    def _wait(self, seconds: float) -> None:
        waiting = select.poll()
        waiting.register(self._alarm, select.POLLIN)
        if self._notifications:
            waiting.register(self._notifications, select.POLLIN)
        waiting.poll(seconds * 1000)

    def _hear(self) -> list[Path]:
        """Read the kernel's notifications; return the paths that have disappeared."""
        if not self._notifications:
            return []
        gone: dict[Path, None] = {}
        files: dict[Path, Kind] = {}
        heard = False
        for path, kind in self._notifications.read():
            heard = True
            if kind is Kind.GONE:
                gone[path] = None
                files.pop(path, None)
                self._settling.pop(path, None)
                self._inventory.note_gone(path)
            elif kind is Kind.FOLDER:
                self._looks.append(self._inventory.look_into(path))
            elif kind is not Kind.TOUCHED or path not in self._settling:
                files[path] = files.get(path, kind) if kind is Kind.TOUCHED else kind
        for path, kind in files.items():
            self._settle(inspect(path), kind)
        self._notice_loss(self._notifications, quiet=not heard)
        return list(gone)

    def _notice_loss(self, notifications: Notifications, *, quiet: bool) -> None:
        """After events were lost, plan a look as soon as no more events arrive."""
        now = time.monotonic()
        if notifications.overflowed and self._lost_since is None:
            level = logging.INFO if self._has_overflowed else logging.WARNING
            logger.log(
                level, "Too many changes at once: the system has dropped events. The folders are scanned instead."
            )
            self._has_overflowed = True
        if notifications.overflowed or notifications.unmounted:
            notifications.overflowed = notifications.unmounted = False
            self._lost_since = self._lost_since or now
            for file in self._settling.values():
                if file.kind is Kind.WRITTEN:  # it may have been closed
                    self._settle(file.seen, Kind.TOUCHED)
        if self._lost_since is not None and (quiet or now > self._lost_since + _LONGEST_BURST) and not self._is_looking:
            self._lost_since, self._look_is_due = None, now

    def _look(self) -> list[Path]:
        """Continue the looks for a while; return the paths that are missing."""
        now = time.monotonic()
        if (now >= self._look_is_due or self._inventory.noted > _MOST_NOTED) and not self._is_looking:
            self._is_looking, self._look_began, self._look_is_due = True, now, math.inf
            self._looks.append(self._inventory.look())
        pause = now + _SLICE
        while self._looks and len(self._settling) < _MOST_SETTLING and not self._stopped.is_set():
            found = next(self._looks[0], None)
            if isinstance(found, Missing):
                self._is_looking = False
                self._plan_look(self._look_began)
                return self._believed(found)
            if found is None:
                self._looks.popleft()
            else:
                self._settle_found(found)
            if time.monotonic() > pause:
                break
        return []

    def _plan_look(self, began: float) -> None:
        now = time.monotonic()
        rest = self._look_seconds if self._polls else max(self._look_seconds, _SHARE * (now - began))
        self._look_is_due = min(self._look_is_due, now + rest)

    def _believed(self, missing: Missing) -> list[Path]:
        """Return the missing paths that count as gone: none if their disk may be missing."""
        self._check_folders()
        if not is_suspicious(missing.files, missing.known):
            return missing.paths
        if not self._away:
            logger.warning(
                "%s of %s files are missing at once. Their disk may be missing, so nothing is recorded. If the files"
                " really are gone, run 'simquery index' with --record-missing.",
                f"{missing.files:,}",
                f"{missing.known:,}",
            )
        return []

    def _check_folders(self) -> None:
        """Find out which disks are mounted, and plan a look if that has changed."""
        present = self._present()
        if present != self._filesystems:
            self._filesystems, self._look_is_due = present, 0.0
        self._expected = {**present, **self._expected}
        now_away = away(self._expected, present)
        for point in now_away:
            if point not in self._away:
                logger.warning(
                    "The disk at '%s' was unmounted. Its files are not recorded as gone.",
                    display_path(point),
                )
        for point in self._away:
            if point not in now_away:
                logger.warning("The disk at '%s' is mounted again.", display_path(point))
        self._away = now_away
        for folder in self._folders:
            if _is_lost(folder) and not lies_below(folder, now_away):
                raise FolderError(f"The folder '{display_path(folder)}' disappeared while it was being watched.")

    def _present(self) -> dict[Path, str]:
        return {point: name for folder in self._folders for point, name in filesystems(folder).items()}

    def _settle(self, file: EvidenceFile, kind: Kind, *, is_listed: bool = False) -> None:
        """Wait until a file is complete."""
        wait = self._waits[kind]
        if kind is Kind.TOUCHED and not (file.skipped or file.unreadable):
            age = time.time() - file.mtime_ns / 1e9
            wait = max(wait, min(self._quiet_seconds, self._quiet_seconds - age))
        self._settling[file.path] = _Settling(file, kind, time.monotonic() + wait, is_listed)

    def _settle_found(self, file: EvidenceFile) -> None:
        """Wait until a file that a look has found is complete; the watcher may be waiting for it already."""
        waiting = self._settling.get(file.path)
        if waiting is None:
            self._settle(file, Kind.TOUCHED, is_listed=True)
        elif waiting.seen != file:
            self._settle(file, waiting.kind, is_listed=True)

    def _settled(self) -> Iterator[EvidenceFile]:
        now = time.monotonic()
        for path, waiting in list(self._settling.items()):
            if waiting.due > now:
                continue
            current = inspect(path)
            if is_folder(path):
                current = waiting.seen if waiting.seen.unreadable else EvidenceFile(path, unreadable=VANISHED)
            if current.unreadable == VANISHED:
                del self._settling[path]
                logger.debug("'%s' is gone again", display_path(path))
            elif current == waiting.seen:
                del self._settling[path]
                if not waiting.is_listed:
                    self._inventory.note(current)
                yield current
            else:
                self._settle(current, waiting.kind)

    def _until_next(self) -> float:
        """Return the seconds until there is something to do."""
        now = time.monotonic()
        if self._looks and len(self._settling) < _MOST_SETTLING:
            return 0.0
        moments = [waiting.due for waiting in self._settling.values()]
        moments.append(now + self._waits[Kind.COMPLETE] if self._lost_since is not None else self._look_is_due)
        return min(_LONGEST_WAIT, max(0.0, min(moments) - now))


def _notifications() -> Notifications:
    try:
        return Notifications()
    except OSError as error:
        raise FolderError(
            f"The folders cannot be watched: {error.strerror}. Raise fs.inotify.max_user_instances, or use --poll."
        ) from None


def _is_lost(folder: Path) -> bool:
    """Return whether a folder certainly no longer exists; an unreachable network share may still exist."""
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _ignore(_path: bytes, _descriptor: int) -> None:
    pass
