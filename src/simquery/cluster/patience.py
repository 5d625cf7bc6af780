"""How long to repeat a request while the cluster restarts, is too busy, or has a full disk."""

import logging
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["NO_WAITING", "PATIENCE_OF_PEOPLE", "PATIENCE_SECONDS", "Hindrance", "Patience", "Waiting", "patience"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 900.0
"""Seconds that a run waits for a cluster that restarts or is too busy."""

PATIENCE_OF_PEOPLE = 120.0
"""Seconds that a query at a terminal waits for an answer."""

_SECONDS_UNAUTHORIZED = 300.0
"""Seconds to wait for credentials to be accepted. A server that has just started refuses everybody until it has opened
the index with its users, which takes seconds on one node and minutes on a large cluster."""

_SECONDS_FOR_ROOM = 24 * 3600.0
"""Seconds to wait for room on a full disk: a person must make room, and may be asleep."""

_REMINDER_SECONDS = 600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_UNAUTHORIZED = 401
_BUSY = frozenset({429, 502, 503, 504})
_FAILED = 500
_NO_ROOM = ("No space left on device", "flood-stage watermark", "read-only-allow-delete block")


class Hindrance(Enum):
    """Reason why the cluster cannot answer a request now."""

    AWAY = "away"
    """It restarts, is unreachable, or has too much to do."""
    STARTING = "starting"
    """It refuses credentials that it accepted before."""
    FULL = "full"
    """A disk has no room left."""

    @classmethod
    def of(cls, status: int, body: object) -> "Hindrance | None":
        """Return the hindrance that an HTTP status and body indicate; None if waiting would not help."""
        if status == _UNAUTHORIZED:
            return cls.STARTING
        if (status in _BUSY or status == _FAILED) and any(sign in str(body) for sign in _NO_ROOM):
            return cls.FULL
        return cls.AWAY if status in _BUSY else None


@dataclass(frozen=True)
class Patience:
    """How long to repeat a request.

    Attributes
    ----------
    seconds
        Seconds while the cluster is away; 0: do not repeat.
    room_seconds
        Seconds while a disk of the cluster is full.
    stopped
        Event that ends all waiting when it is set.
    """

    seconds: float = PATIENCE_OF_PEOPLE
    room_seconds: float = PATIENCE_OF_PEOPLE
    stopped: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of_a_run(cls, seconds: float) -> "Patience":
        """Return the patience of a run; one that waits longer than a query does may also wait overnight for room."""
        return cls(seconds, max(seconds, _SECONDS_FOR_ROOM) if seconds > PATIENCE_OF_PEOPLE else seconds)

    def limit(self, hindrance: Hindrance) -> float:
        """Return how many seconds to wait for a hindrance to go away."""
        if hindrance is Hindrance.STARTING:
            return min(self.seconds, _SECONDS_UNAUTHORIZED)
        return self.room_seconds if hindrance is Hindrance.FULL else self.seconds


NO_WAITING = Patience(0.0, 0.0)

patience: ContextVar[Patience] = ContextVar("patience", default=Patience())  # noqa: B039  (its event is never set)
"""The patience for requests of the current thread."""


class Waiting:
    """The pauses between the attempts at one request."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since: float | None = None
        self._said: tuple[Hindrance, float] | None = None
        self._pause = _FIRST_PAUSE
        self._full = False

    @property
    def full(self) -> bool:
        """Whether a disk was full during one of the attempts."""
        return self._full

    def again(self, hindrance: Hindrance, reason: str) -> bool:
        """Pause, and return whether to try again; the log gets the reason.

        A server whose disk is full may soon stop answering, so the disk counts as full until a request succeeds.
        """
        self._full = self._full or hindrance is Hindrance.FULL
        hindrance = Hindrance.FULL if self._full else hindrance
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        limit = self._patience.limit(hindrance)
        if now - self._since >= limit or self._patience.stopped.is_set():
            return False
        if self._said is None or self._said[0] is not hindrance or now - self._said[1] > _REMINDER_SECONDS:
            logger.warning("%s. Waiting for at most %s; nothing is lost.", reason.rstrip("."), _duration(limit))
            self._said = (hindrance, now)
        stopped = self._patience.stopped.wait(min(self._pause, max(limit - (now - self._since), _FIRST_PAUSE / 10)))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return not stopped

    def over(self) -> None:
        """Log that the wait is over, if there was one."""
        if self._said is not None:
            logger.warning("The cluster answers again; continuing.")


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004  (two minutes: beyond that, seconds are too precise)
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds <= 2 * 3600 else f"{seconds / 3600:.0f} hours"
