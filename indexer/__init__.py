"""From files to documents: candidates, reading, the run that embeds and stores them, the ledger, the watcher."""

from simquery.indexer.candidates import Candidate, check_folder, scan
from simquery.indexer.ledger import Entry, Ledger, Status
from simquery.indexer.run import Counts, Details, Indexer
from simquery.indexer.selection import Selection
from simquery.indexer.watching import Watcher

__all__ = [
    "Candidate",
    "Counts",
    "Details",
    "Entry",
    "Indexer",
    "Ledger",
    "Selection",
    "Status",
    "Watcher",
    "check_folder",
    "scan",
]
