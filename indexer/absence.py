"""Record in the ledger which files are gone, unless it looks as if their disk is not mounted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elasticsearch import AuthorizationException, Elasticsearch

from simquery.cluster.waiting import Cluster
from simquery.errors import MissingEvidenceError
from simquery.indexer.evidence import EvidenceFile, is_folder, is_gone, scan
from simquery.indexer.filesystems import away, filesystems, lies_below
from simquery.indexer.ledger import Entry, Ledger, Status, gone_entry
from simquery.mappings import store_filesystems, stored_filesystems
from simquery.paths import display_path

__all__ = ["Absence", "is_suspicious"]

logger = logging.getLogger(__name__)

_FEW = 10
"""Number of missing files below which they are never suspicious."""


def is_suspicious(missing: int, known: int) -> bool:
    """Return whether a disk may be missing rather than files: more than half of them, and at least ten, are missing."""
    return missing >= _FEW and 2 * missing > known


class Absence:
    """Record which paths of a case are gone.

    Parameters
    ----------
    cluster
        The connection.
    ledger
        The ledger of the case.
    case
        Name of the case, which stores the filesystems of its evidence folders.
    """

    def __init__(self, cluster: Cluster, ledger: Ledger, case: str) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._case = case

    def record_below(self, folder: Path, *, missing_is_true: bool) -> int:
        """Record which files of an evidence folder are gone; their pictures keep their documents.

        Parameters
        ----------
        folder
            The evidence folder.
        missing_is_true
            Record missing files as gone even if it looks as if their disk is not mounted.

        Returns
        -------
        int
            Number of paths newly recorded as gone.

        Raises
        ------
        MissingEvidenceError
            When it looks as if a disk is not mounted; nothing is recorded then.
        """
        present = filesystems(folder)
        gone = 0
        if missing_is_true or self._count_missing(folder, present):
            gone = sum(map(self._record, self._ledger.below(folder)))
        self._remember(folder, present)
        return gone

    def record_seen(self, paths: Sequence[Path]) -> int:
        """Record paths that were seen to disappear, and everything below them.

        Returns
        -------
        int
            Number of paths newly recorded as gone.
        """
        found = self._ledger.lookup([EvidenceFile(path) for path in paths])
        # A file has nothing below it; looking up its entry is faster than searching below it.
        files = [entry for entry in found if entry and entry.status is not Status.UNREADABLE and is_gone(_path(entry))]
        others = set(paths).difference(map(_path, files))
        return self._record(files) + (sum(map(self._record, self._ledger.below(*others))) if others else 0)

    def _count_missing(self, folder: Path, present: dict[Path, str]) -> int:
        """Count the missing files, or raise an error if it looks as if their disk is not mounted."""
        before = self._cluster.ask(lambda client: stored_filesystems(client, self._case, folder))
        unmounted = away(before, present)
        count = _Count()
        for entries in self._ledger.below(folder):
            count.add(entries, unmounted)
        name = display_path(folder)
        missing = f"{count.missing:,} of the {count.known:,} known files in '{name}' are missing"
        if count.missing and next(scan(folder), None) is None:
            reason = f"The folder '{name}' is empty, but the case knows {count.known:,} files in it"
        elif count.unmounted:
            points = ", ".join(f"'{display_path(point)}'" for point in unmounted)
            reason = f"The filesystem at {points} has changed or is not mounted, and {missing}"
        elif is_suspicious(count.missing, count.known):
            reason = missing
        else:
            return count.missing
        raise MissingEvidenceError(
            f"{reason}: the disk may not be mounted, so nothing was recorded as gone. Mount it and run the command"
            " again; if the files really are gone, add --record-missing."
        )

    def _record(self, entries: Sequence[Entry]) -> int:
        gone = [entry for entry in entries if _is_missing(entry)]
        self._ledger.record([gone_entry(entry) for entry in gone])
        for entry in gone:
            logger.debug("'%s' is gone", display_path(_path(entry)))
        return len(gone)

    def _remember(self, folder: Path, found: dict[Path, str]) -> None:
        def store(client: Elasticsearch) -> None:
            store_filesystems(client, self._case, folder, found)

        try:
            self._cluster.ask(store)
        except AuthorizationException:
            logger.info("the credentials do not allow storing the filesystems of '%s'", display_path(folder))


@dataclass
class _Count:
    """Number of known files, of missing ones, and of missing ones on a filesystem that is not mounted."""

    known: int = 0
    missing: int = 0
    unmounted: int = 0

    def add(self, entries: Sequence[Entry], unmounted: Sequence[Path]) -> None:
        for entry in entries:
            self.known += not entry.gone_at
            if _is_missing(entry):
                self.missing += 1
                self.unmounted += lies_below(_path(entry), unmounted)


def _path(entry: Entry) -> Path:
    return entry.file.path


def _is_missing(entry: Entry) -> bool:
    """Return whether the file of an entry is gone, but the entry does not say so yet.

    A file is also gone if a folder has taken its place. An entry without a modification time stands for a folder that
    could not be listed.
    """
    if entry.gone_at:
        return False
    return is_gone(_path(entry)) or (entry.file.mtime_ns != 0 and is_folder(_path(entry)))
