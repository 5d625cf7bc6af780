"""Recording in the ledger which files are gone, unless their disk may just not be mounted."""

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
"""Fewer missing files than this are never suspicious."""


def is_suspicious(missing: int, known: int) -> bool:
    """Whether a disk may be missing rather than its files: more than half are missing, and at least ten."""
    return missing >= _FEW and 2 * missing > known


class Absence:
    """Records which paths of a case are gone.

    Parameters
    ----------
    cluster
        The connection.
    ledger
        The ledger of the case.
    case
        The case; it remembers the filesystems of its evidence folders.
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
            Record missing files as gone even if their disk may not be mounted.

        Returns
        -------
        int
            How many paths were newly recorded as gone.

        Raises
        ------
        MissingEvidenceError
            When a disk may not be mounted; nothing is recorded then.
        """
        present = filesystems(folder)
        gone = 0
        if missing_is_true or self._count_missing(folder, present):
            gone = sum(map(self._record, self._ledger.below(folder)))
        self._remember(folder, present)
        return gone

    def record_seen(self, paths: Sequence[Path]) -> int:
        """Record paths that were seen to disappear, and everything that was below them.

        Returns
        -------
        int
            How many paths were newly recorded as gone.
        """
        found = self._ledger.lookup([EvidenceFile(path) for path in paths])
        # A file has nothing below it; looking up its entry is faster than searching below it.
        files = [entry for entry in found if entry and entry.status is not Status.UNREADABLE and is_gone(_path(entry))]
        others = set(paths).difference(map(_path, files))
        return self._record(files) + (sum(map(self._record, self._ledger.below(*others))) if others else 0)

    def _count_missing(self, folder: Path, present: dict[Path, str]) -> int:
        """Count the missing files; refuse to do so if their disk may not be mounted."""
        before = self._cluster.ask(lambda client: stored_filesystems(client, self._case, folder))
        unmounted = away(before, present)
        count = _Count()
        for entries in self._ledger.below(folder):
            count.add(entries, unmounted)
        name = display_path(folder)
        missing = f"{count.missing:,} of {count.known:,} files that the case knows in '{name}' are missing"
        if count.missing and next(scan(folder), None) is None:
            reason = f"The folder '{name}' is empty, and the case knows {count.known:,} files in it"
        elif count.unmounted:
            points = ", ".join(f"'{display_path(point)}'" for point in unmounted)
            reason = f"Another filesystem than before is mounted at {points}, or none, and {missing}"
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
            logger.info("the credentials may not store the filesystems of '%s'", display_path(folder))


@dataclass
class _Count:
    """How many files are known; how many of them are missing; how many of those were on a filesystem that is away."""

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
    """Whether the file of an entry is gone, and the entry does not say so yet.

    A file is also gone if a folder has taken its place. An entry without a modification time stands for a folder that
    could not be listed.
    """
    if entry.gone_at:
        return False
    return is_gone(_path(entry)) or (entry.file.mtime_ns != 0 and is_folder(_path(entry)))
