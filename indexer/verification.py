"""Verification: count the files on disk, the ledger and the images indices again, and check that they agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from simquery.cluster.vectors import unpack
from simquery.cluster.waiting import Cluster
from simquery.errors import CaseError
from simquery.indexer.evidence import EvidenceFile, is_gone, scan
from simquery.indexer.hashing import hash_file
from simquery.indexer.images import PATHS_LISTED, Images
from simquery.indexer.ledger import Entry, Ledger, Status
from simquery.mappings import case_indices, files_index, open_files_index
from simquery.paths import display_path, real_path
from simquery.pictures.files import Digests

__all__ = ["Difference", "Report", "Verifier"]

_FILES = 500
_DOCUMENTS = 100
_TOLERANCE = 1e-4
"""Relative tolerance: vectors come back as the float32 numbers that were stored, or normalised by the index."""


@dataclass(frozen=True)
class Difference:
    """A difference: the path or SHA-256 concerned, and the problem."""

    subject: str
    problem: str


@dataclass
class Report:
    """The result of a verification.

    Attributes
    ----------
    files
        Number of paths on disk.
    statuses
        Number of paths on disk by their status in the ledger; paths without an entry are not included.
    gone
        Number of paths that are gone according to the ledger.
    documents
        Number of pictures by model.
    differences
        All differences; if there are none, nothing is missing and nothing is stored twice.
    """

    files: int = 0
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Status), 0))
    gone: int = 0
    documents: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def note(self, subject: str | Path, problem: str) -> None:
        """Add a difference."""
        self.differences.append(Difference(subject if isinstance(subject, str) else display_path(subject), problem))


class Verifier:
    """Compare evidence folders with what a case holds, without changing anything.

    Parameters
    ----------
    client
        Connection to the cluster.
    case
        The case.

    Raises
    ------
    CaseError
        When there is no such case.
    """

    def __init__(self, client: Elasticsearch, case: str) -> None:
        if not client.indices.exists(index=files_index(case)):
            raise CaseError(f"There is no case '{case}': 'simquery index FOLDER --case {case}' creates it.")
        self._cluster = Cluster(client)
        self._ledger = Ledger(self._cluster, open_files_index(client, case))
        self._indices = {meta["model"]: meta for meta in case_indices(client) if meta.get("case") == case}

    def verify(self, folders: Iterable[Path], *, rehash: bool, progress: Callable[[int], None]) -> Report:
        """Count everything again, and compare.

        Parameters
        ----------
        folders
            Evidence folders, as `check_folders` returns them.
        rehash
            Whether to read every file again and compare its SHA-256.
        progress
            Called with the number of files and documents looked at so far.
        """
        report = Report()
        for folder in folders:
            self._compare_files(folder, report, progress, rehash=rehash)
            self._compare_entries(folder, report)
        for model in self._indices:
            self._compare_documents(model, report, progress)
        return report

    def _compare_files(self, folder: Path, report: Report, progress: Callable[[int], None], *, rehash: bool) -> None:
        files = scan(folder)
        with ThreadPoolExecutor(4, "reader") as readers:
            while group := list(islice(files, _FILES)):
                entries = self._ledger.lookup(group)
                report.files += len(group)
                for file, entry in zip(group, entries, strict=True):
                    _compare_file(file, entry, report)
                if rehash:
                    readable = [
                        (file, entry) for file, entry in zip(group, entries, strict=True) if entry and entry.sha256
                    ]
                    digests = readers.map(lambda pair: hash_file(pair[0], lambda: False), readable)
                    for (file, entry), found in zip(readable, digests, strict=True):
                        _compare_content(file, entry, found, report)
                progress(report.files)

    def _compare_entries(self, folder: Path, report: Report) -> None:
        for entries in self._ledger.below(folder):
            for entry in entries:
                if entry.gone_at:
                    report.gone += 1
                elif is_gone(entry.file.path):
                    report.note(entry.file.path, "is in the ledger but no longer exists")
            for model, meta in self._indices.items():
                embedded = [entry for entry in entries if model in entry.models]
                known = Images(self._cluster, meta["index"]).known(str(entry.sha256) for entry in embedded)
                for entry in embedded:
                    if entry.sha256 not in known:
                        report.note(entry.file.path, f"has no document of model '{model}'")

    def _compare_documents(self, model: str, report: Report, progress: Callable[[int], None]) -> None:
        meta, count = self._indices[model], 0
        pages = self._cluster.pages(
            meta["index"], {"match_all": {}}, "sha256", _DOCUMENTS, source_exclude_vectors=False
        )
        for hits in pages:
            documents = [hit["_source"] for hit in hits]
            count += len(documents)
            entries = self._entries(path for document in documents for path in document["paths"])
            for document in documents:
                problem = _vector_problem(document, meta["dims"])
                if problem:
                    report.note(document["sha256"], f"model '{model}': {problem}")
                for problem in _path_problems(document, entries, model):
                    report.note(document["sha256"], f"model '{model}': {problem}")
            progress(report.files + count)
        report.documents[model] = count

    def _entries(self, paths: Iterable[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        distinct: Iterator[str] = iter(dict.fromkeys(paths))
        while group := list(islice(distinct, _FILES)):
            entries = self._ledger.lookup([EvidenceFile(real_path(path)) for path in group])
            found |= {path: entry for path, entry in zip(group, entries, strict=True) if entry}
        return found


def _compare_file(file: EvidenceFile, entry: Entry | None, report: Report) -> None:
    if entry is None:
        report.note(file.path, "is not in the ledger")
        return
    report.statuses[entry.status] += 1
    if entry.gone_at:
        report.note(file.path, "exists, but the ledger says that it is gone")
    elif (file.size, file.mtime_ns) != (entry.file.size, entry.file.mtime_ns):
        report.note(file.path, "has changed since it was looked at")


def _compare_content(file: EvidenceFile, entry: Entry, found: object, report: Report) -> None:
    if not isinstance(found, Digests):
        report.note(file.path, f"cannot be hashed again: {getattr(found, 'reason', found)}")
    elif found.sha256 != entry.sha256:
        report.note(file.path, f"has the SHA-256 {found.sha256}, but {entry.sha256} in the ledger")


def _vector_problem(document: dict[str, Any], dims: int) -> str | None:
    if "embedding" not in document:
        return "no vector"
    vector = unpack(document["embedding"]).astype(np.float64)
    if len(vector) != dims:
        return f"a vector of {len(vector)} numbers instead of {dims}"
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or not norm:
        return "a vector without a direction"
    if abs(norm - document["norm"]) > _TOLERANCE * norm:
        return f"a vector of norm {norm}, but the stored norm is {document['norm']}"
    return None


def _path_problems(document: dict[str, Any], entries: dict[str, Entry], model: str) -> Iterator[str]:
    paths: Sequence[str] = document["paths"]
    content = document["sha256"]
    if len(set(paths)) != len(paths) or len(paths) > PATHS_LISTED:
        yield "lists a path twice, or too many"
    first = 0
    for path in paths:
        entry = entries.get(path)
        if entry is None:
            yield f"'{path}' is not in the ledger"
        elif entry.sha256 == content:
            first += entry.status == Status.INDEXED
            if model not in entry.models:
                yield f"the entry of '{path}' does not name the model"
        elif all(was.get("sha256") != content for was in entry.earlier):
            yield f"the entry of '{path}' has another content"
    if first > 1:
        yield "several paths count as the first with this content"
