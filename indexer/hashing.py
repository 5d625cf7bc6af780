"""First stage: the files that have changed since the ledger saw them are read, and grouped by content."""

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
"""Files that are larger come last, and share a time limit: a sparse file of terabytes is made in no time."""

_TRIAL_BYTES = 256 << 20
"""A large file shows with its first bytes how fast it can be read."""


class TimeLimit:
    """Time for hashing the large files of a run, counted from the first of them; may be used by several threads.

    Parameters
    ----------
    minutes
        For all of them together.
    rule
        The option that sets the limit.
    """

    def __init__(self, minutes: float, rule: str) -> None:
        self.rule = rule
        self._seconds = 60 * minutes
        self._end: float | None = None
        self._guard = threading.Lock()

    def for_file(self, size: int) -> Callable[[int], bool]:
        """Begin a file of so many bytes; what is returned says, after any number of bytes, whether to give it up."""
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
    """Looks files up in the ledger, and reads those that it does not know as they are.

    Parameters
    ----------
    ledger
        What became of the files in earlier runs.
    models
        The networks that are to see every picture.
    details
        The run's options.
    readers
        Threads to read in.
    timings
        Gets the stage's busy time.
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
    """Digests of a file's content, or what stands in the way.

    Parameters
    ----------
    file
        As it was seen.
    stopped
        Asked again and again whether to give up: a disk image takes minutes.
    limit
        For a file that is larger than `LARGE_BYTES`.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` says so.
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
    except InterruptedError:  # an OSError, but not the file's
        if stopped() or limit is None:
            raise
        return Obstacle(f"left out by {limit.rule}: hashing its {file.size:,} bytes takes longer", rule=limit.rule)
    except OSError as error:
        return Obstacle(unread_reason(error))
