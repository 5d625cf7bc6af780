"""First stage: read the files that have changed since the ledger saw them, and group them by content."""

import threading
import time
from collections.abc import Callable, Collection, Sequence

from simquery.indexer.contents import Batch, Content, Obstacle, Sighting
from simquery.indexer.details import Details
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.failures import explained
from simquery.indexer.ledger import Ledger
from simquery.indexer.timings import Timings
from simquery.indexer.workers import Workers
from simquery.paths import display_path
from simquery.pictures.files import CHANGED, Digests, digests_of, has_changed, open_evidence, unread_reason

__all__ = ["LARGE_BYTES", "Hashing", "TimeLimit", "hash_file"]

LARGE_BYTES = 1 << 30
"""Larger files come last and share a time limit, because anybody can make a sparse file of terabytes."""

_TRIAL_BYTES = 256 << 20
"""Number of bytes after which the reading speed of a large file is known."""


class TimeLimit:
    """Time limit for hashing the large files of a run, from the first of them on; several threads may use it.

    Parameters
    ----------
    minutes
        Minutes for all large files together.
    rule
        The option that sets the limit.
    """

    def __init__(self, minutes: float, rule: str) -> None:
        self.rule = rule
        self._seconds = 60 * minutes
        self._end: float | None = None
        self._guard = threading.Lock()

    def for_file(self, size: int) -> Callable[[int], bool]:
        """Begin a file of ``size`` bytes; the returned function says, given the bytes done, whether to give up."""
        begun = time.monotonic()
        with self._guard:
            if self._end is None:
                self._end = begun + self._seconds
            end = self._end

        def is_hopeless(done: int) -> bool:
            now = time.monotonic()
            return now >= end or (done >= _TRIAL_BYTES and begun + (now - begun) * size / done > end)

        return is_hopeless


class Hashing:
    """Look files up in the ledger, and read those that are new or have changed.

    Parameters
    ----------
    ledger
        The ledger, with the results of earlier runs.
    models
        Names of the networks of this run.
    details
        The run's options.
    readers
        Threads that read files.
    timings
        Record of the stage's busy time.
    """

    def __init__(
        self,
        ledger: Ledger,
        models: Collection[str],
        details: Details,
        readers: Workers,
        timings: Timings,
    ) -> None:
        self._ledger = ledger
        self._models = models
        self._details = details
        self._readers = readers
        self._timings = timings
        self._limit = TimeLimit(details.large_minutes, details.large_rule)

    def __call__(self, files: Sequence[EvidenceFile]) -> Batch:
        """Group files by content."""
        batch = Batch()
        with self._timings.of("read", len(files)):
            sightings = []
            for file, entry in zip(files, self._ledger.lookup(files), strict=True):
                if entry is not None and entry.is_final(file, self._models, self._details.rules):
                    batch.unchanged += 1
                else:
                    sightings.append(Sighting(file, entry))
            contents: dict[str, Content] = {}
            outcomes = self._readers.map(self._hash, sightings)
            for sighting, outcome in zip(sightings, outcomes, strict=True):
                if isinstance(outcome, Obstacle):
                    batch.obstructed.append((sighting, outcome))
                else:
                    contents.setdefault(outcome.sha256, Content(outcome)).sightings.append(sighting)
            batch.contents = list(contents.values())
        return batch

    def _hash(self, sighting: Sighting) -> Digests | Obstacle:
        with explained("hashing", display_path(sighting.file.path)):
            return hash_file(sighting.file, self._readers.closed.is_set, self._limit)


def hash_file(file: EvidenceFile, stopped: Callable[[], bool], limit: TimeLimit | None = None) -> Digests | Obstacle:
    """Return the digests of a file's content, or why it cannot be read.

    Parameters
    ----------
    file
        The file, in the state in which it was seen.
    stopped
        Called repeatedly; hashing ends when it returns true, because a disk image takes minutes.
    limit
        Time limit for files larger than `LARGE_BYTES`.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` returns true.
    """
    if file.skipped:
        return Obstacle(file.skipped, skipped=True, rule=file.rule)
    if file.unreadable:
        return Obstacle(file.unreadable)
    is_hopeless = limit.for_file(file.size) if limit and file.size > LARGE_BYTES else None
    try:
        with open_evidence(file.path) as opened:
            digests = digests_of(opened, lambda: stopped() or (is_hopeless is not None and is_hopeless(opened.tell())))
            return Obstacle(CHANGED) if has_changed(opened, file.state) else digests
    except InterruptedError:  # it is an OSError, but not about the file
        if stopped() or limit is None:
            raise
        return Obstacle(f"left out by {limit.rule}: hashing its {file.size:,} bytes takes longer", rule=limit.rule)
    except OSError as error:
        return Obstacle(unread_reason(error))
