"""Indexing: the stages that hash, decode, embed and store files, the ledger, and the watcher."""

from simquery.indexer.counting import counted
from simquery.indexer.details import Details
from simquery.indexer.evidence import EvidenceFile, check_folder, check_folders, scan, scan_folders
from simquery.indexer.ledger import Entry, Ledger, Status
from simquery.indexer.live import LiveIndexing
from simquery.indexer.run import Counts, Indexer
from simquery.indexer.selection import Selection
from simquery.indexer.verification import Difference, Report, Verifier
from simquery.indexer.watching import Change, Watcher

__all__ = [
    "Change",
    "Counts",
    "Details",
    "Difference",
    "Entry",
    "EvidenceFile",
    "Indexer",
    "Ledger",
    "LiveIndexing",
    "Report",
    "Selection",
    "Status",
    "Verifier",
    "Watcher",
    "check_folder",
    "check_folders",
    "counted",
    "scan",
    "scan_folders",
]
