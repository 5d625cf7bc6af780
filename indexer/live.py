"""Continuous indexing: first everything in some folders, then whatever appears in them."""

from collections.abc import Callable, Iterator
from itertools import takewhile

from simquery.cluster import translated_errors
from simquery.indexer.evidence import scan_folders
from simquery.indexer.run import Counts, Indexer
from simquery.indexer.selection import Selection
from simquery.indexer.watching import Watcher

__all__ = ["LiveIndexing"]


class LiveIndexing:
    """Index the folders of a selection when iterated over, then watch them until `stop` is called.

    Each item is the `Counts` so far: the first after the folders have been indexed, the next ones after each change.

    Parameters
    ----------
    indexer
        Indexer to use.
    selection
        The folders, and which of their files to index.
    poll_seconds
        Look for changes every so many seconds, for network shares that send no events. None: wait for events.
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
        """How many paths were indexed, skipped and so on, so far."""
        return self._indexer.counts

    def stop(self) -> None:
        """Finish the current work, then end the iteration; may be called from a signal handler or another thread."""
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
