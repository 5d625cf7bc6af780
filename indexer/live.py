"""Indexing that goes on: first everything in some folders, then whatever appears in them."""

from collections.abc import Callable, Iterator
from itertools import takewhile

from simquery.cluster import translated_errors
from simquery.indexer.evidence import scan_folders
from simquery.indexer.run import Counts, Indexer
from simquery.indexer.selection import Selection
from simquery.indexer.watching import Watcher

__all__ = ["LiveIndexing"]


class LiveIndexing:
    """Indexes the folders of a selection when it is iterated over, then watches them until `stop` is called.

    Each item is the `Counts` so far: the first after the folders have been indexed, the next ones after each change.

    Parameters
    ----------
    indexer
        Stores the pictures.
    selection
        The folders, and which of their files count.
    poll_seconds
        Seconds between two looks at the folders, for network shares that send no events; None: wait for events.
    progress
        Called with the counts while the folders are indexed for the first time.
    missing_is_true
        See `Indexer.record_gone`.
    """

    def __init__(
        self,
        indexer: Indexer,
        selection: Selection,
        poll_seconds: float | None = None,
        progress: Callable[[Counts], None] = lambda _: None,
        *,
        missing_is_true: bool = False,
    ) -> None:
        self._indexer = indexer
        self._selection = selection
        self._progress = progress
        self._missing_is_true = missing_is_true
        self._watcher = Watcher(selection.folders, poll_seconds=poll_seconds)

    @property
    def counts(self) -> Counts:
        """How many paths came to which end so far."""
        return self._indexer.counts

    def stop(self) -> None:
        """Finish what has begun, then end the iteration; may be called from a signal handler or another thread."""
        self._watcher.stop()

    def __iter__(self) -> Iterator[Counts]:
        folders = self._selection.folders
        with translated_errors(), self._watcher as watcher:
            files = takewhile(lambda _: not watcher.stopped, scan_folders(folders))
            self._indexer.index(self._selection.of(files), self._progress)
            if watcher.stopped:
                return
            for folder in folders:
                self._indexer.record_gone(folder, missing_is_true=self._missing_is_true)
            yield self.counts
            for change in watcher.changes():
                self._indexer.record_seen_gone(change.gone)
                self._indexer.index(self._selection.of(change.files), lambda _: None)
                yield self.counts
