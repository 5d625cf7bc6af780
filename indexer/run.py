"""One pass over candidates: hash, decode, embed, store, and an entry in the ledger for each of them."""

import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from simquery.cluster.waiting import PATIENCE_SECONDS, Cluster
from simquery.embedders import Embedder, Pixels, is_usable
from simquery.errors import PictureError
from simquery.indexer.absence import Absence
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.images import Images, Occurrence, image_document
from simquery.indexer.ledger import Entry, Ledger, Status, refused_entry
from simquery.indexer.reading import Obstacle, hash_file, obstacle
from simquery.indexer.timings import Timings
from simquery.mappings import install_templates, open_files_index, open_images_index
from simquery.paths import display_path
from simquery.pictures.decoders import shared_decoders
from simquery.pictures.decoding import UnreadError
from simquery.pictures.files import Digests

__all__ = ["Counts", "Details", "Indexer"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
_FIRST_BATCH = 64
_SMALLEST_BATCH = 16
_LARGEST_BATCH = 256
_BATCH_SECONDS = (0.4, 2.0)
"""A batch is to keep the networks busy for so long, at least and at most: a fast one that gets few pictures at once
waits for the server again and again, and with a slow one much would be lost when the run is killed."""

_BATCH_BYTES = 64 << 20
"""The pixels of a batch take so much memory at most; there are up to five batches on their way."""


@dataclass
class Counts:
    """How many paths came to which end.

    ``unchanged`` had come to theirs in an earlier run; ``gone`` are those of earlier runs that are not there any more.
    """

    indexed: int = 0
    duplicate: int = 0
    unreadable: int = 0
    skipped: int = 0
    unchanged: int = 0
    gone: int = 0

    @property
    def seen(self) -> int:
        """All paths so far that are there."""
        return self.indexed + self.duplicate + self.unreadable + self.skipped + self.unchanged

    def add(self, status: Status) -> None:
        """Count one path."""
        setattr(self, status, getattr(self, status) + 1)


@dataclass(frozen=True)
class Details:
    """What a run does besides embedding.

    Attributes
    ----------
    thumbnails
        Documents get a small JPEG.
    label_folders
        The name of the folder that a file lies in becomes a label of its picture.
    min_side
        Pictures with a shorter side than so many pixels (icons) are left out.
    """

    thumbnails: bool = False
    label_folders: bool = False
    min_side: int = 0

    @property
    def small_rule(self) -> str:
        """The option that leaves out small pictures."""
        return f"--min-size {self.min_side}"


@dataclass
class _Batch:
    """Candidates that were read.

    Attributes
    ----------
    unchanged
        How many needed no second look.
    previous
        Entries of before, of those that did.
    contents, obstacles
        What each candidate holds, or what stands in the way.
    pictures
        Fields that decoding found, by content (SHA-256); ``sources`` are the candidates that it was read from.
    pixels, rows
        Pixels of all pictures, an array for each input size; the row of each content in all of them. One large array
        goes back to the system when it is no longer needed: many small ones would leave gaps in memory.
    models
        Which models have a vector of a content, or get one now.
    missing
        Which models have none yet.
    refused
        Which models find nothing in it.
    vectors
        By model and content.
    """

    unchanged: int = 0
    previous: dict[EvidenceFile, Entry | None] = field(default_factory=dict)
    contents: dict[EvidenceFile, Digests] = field(default_factory=dict)
    obstacles: dict[EvidenceFile, Obstacle] = field(default_factory=dict)
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    pixels: list[Pixels] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    sources: dict[str, EvidenceFile] = field(default_factory=dict)
    models: dict[str, set[str]] = field(default_factory=dict)
    missing: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    vectors: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)


class Indexer:
    """Indexes candidates into a case with one or several embedders.

    Everything that is known of a picture is in Elasticsearch before its ledger entry is: a process killed in between
    loses nothing, since the next run sees no entry and looks again.

    Parameters
    ----------
    client
        Connection to the cluster.
    case
        The case.
    embedders
        One network, or several: each picture is read and decoded once for all of them.
    details
        What else is done.
    patience_seconds
        How long a cluster that is away is waited for.
    """

    def __init__(
        self,
        client: Elasticsearch,
        case: str,
        embedders: Embedder | Sequence[Embedder],
        details: Details = Details(),
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        similarity: str = "cosine",
        vector_index: str = "int8_hnsw",
    ) -> None:
        install_templates(client)
        several = [embedders] if isinstance(embedders, Embedder) else embedders
        self._embedders = {embedder.name: embedder for embedder in several}
        self._sizes = sorted({embedder.input_size for embedder in several})
        self._details = details
        self._cluster = Cluster(client, patience_seconds)
        self._ledger = Ledger(self._cluster, open_files_index(client, case))
        graph = {"similarity": similarity, "vector_index": vector_index}
        self._images = {
            name: Images(
                self._cluster, open_images_index(client, case, name, embedder.dims, embedder.fingerprint, **graph)
            )
            for name, embedder in self._embedders.items()
        }
        self._absence = Absence(self._cluster, self._ledger, case)
        self._timings = Timings(client, self._cluster, case)
        self._decoders = shared_decoders()
        self._batch_size = _FIRST_BATCH
        self._stopped = threading.Event()
        self.counts = Counts()

    def index(self, candidates: Iterable[EvidenceFile], progress: Callable[[Counts], None]) -> None:
        """Index candidates: while the network embeds some, the next are read and the last are stored.

        Parameters
        ----------
        candidates
            What `scan` or a watcher found.
        progress
            Called with the counts after each batch.
        """
        logger.debug("indexing begins")
        readers = ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2), "reader")
        preparer = ThreadPoolExecutor(1, "preparer")
        writer = ThreadPoolExecutor(1, "preparer-of-answers")
        try:
            read = _ahead(preparer, partial(self._read, readers=readers), self._batches(candidates))
            for entries, unchanged in _ahead(writer, self._write, map(self._embed, read)):
                self.counts.unchanged += unchanged
                for entry in entries:
                    self.counts.add(entry.status)
                progress(self.counts)
                self._timings.store(only_if_due=True)
        except BaseException:
            self._stopped.set()  # readers give up in the middle of a file: nothing of this batch will be stored
            self._cluster.stop()
            raise
        finally:
            for executor in (readers, preparer, writer):
                executor.shutdown(cancel_futures=True)
        for images in self._images.values():
            images.refresh()
        self._timings.store()

    def record_gone(self, folder: Path, *, missing_is_true: bool = False) -> None:
        """Record which paths below an evidence folder are gone: see `Absence.record_below`."""
        self.counts.gone += self._absence.record_below(folder, missing_is_true=missing_is_true)

    def record_seen_gone(self, paths: Sequence[Path]) -> None:
        """Record that paths are gone, and what was below them, after a watcher saw them go."""
        self.counts.gone += self._absence.record_seen(paths)

    def _batches(self, candidates: Iterable[EvidenceFile]) -> Iterator[tuple[EvidenceFile, ...]]:
        iterator = iter(candidates)
        return iter(lambda: tuple(islice(iterator, self._batch_size)), ())

    def _adjust_batches(self, seconds: float) -> None:
        """Let the next batches take the networks neither too short nor too long, after one that took so long."""
        shortest, longest = _BATCH_SECONDS
        if seconds > longest:
            self._batch_size = max(_SMALLEST_BATCH, self._batch_size // 2)
        elif seconds < shortest:
            fitting = _BATCH_BYTES // sum(height * width * 3 for height, width in self._sizes)
            self._batch_size = max(_SMALLEST_BATCH, min(2 * self._batch_size, _LARGEST_BATCH, fitting))

    def _read(self, candidates: Sequence[EvidenceFile], readers: Executor) -> _Batch:
        batch = _Batch()
        with self._timings.of("read", len(candidates)):
            self._hash(batch, candidates, readers)
        with self._timings.of("decode", len(batch.contents)):
            self._decode(batch, readers)
        return batch

    def _hash(self, batch: _Batch, candidates: Sequence[EvidenceFile], readers: Executor) -> None:
        entries = self._ledger.lookup(candidates)
        for candidate, entry in zip(candidates, entries, strict=True):
            if entry is not None and entry.is_final(candidate, self._embedders, (self._details.small_rule,)):
                batch.unchanged += 1
            else:
                batch.previous[candidate] = entry
        hashes = readers.map(lambda candidate: hash_file(candidate, self._stopped.is_set), batch.previous)
        for candidate, outcome in zip(batch.previous, hashes, strict=True):
            if isinstance(outcome, Obstacle):
                batch.obstacles[candidate] = outcome
            else:
                batch.contents[candidate] = outcome

    def _decode(self, batch: _Batch, readers: Executor) -> None:
        copies: dict[str, list[EvidenceFile]] = defaultdict(list)
        for candidate, digests in batch.contents.items():
            copies[digests.sha256].append(candidate)
        known = {name: images.known(copies) for name, images in self._images.items()}
        for content in copies:
            batch.models[content] = {name for name in known if content in known[name]}
            batch.missing[content] = known.keys() - batch.models[content]
        unseen = {content: paths for content, paths in copies.items() if batch.missing[content]}
        batch.pixels = [np.empty((len(unseen), *size, 3), np.uint8) for size in self._sizes]
        batch.rows = {content: row for row, content in enumerate(unseen)}
        places = list(zip(*batch.pixels, strict=True))
        outcomes = readers.map(self._read_picture, [paths[0] for paths in unseen.values()], places)
        for (content, paths), place, first_outcome in zip(unseen.items(), places, outcomes, strict=True):
            outcome = first_outcome
            while isinstance(outcome, UnreadError) and paths:  # the next copy may do better
                batch.obstacles[paths[0]] = Obstacle(str(outcome))
                del batch.contents[paths[0]]
                del paths[0]
                outcome = self._read_picture(paths[0], place) if paths else outcome
            if isinstance(outcome, dict):
                batch.pictures[content], batch.sources[content] = outcome, paths[0]
            elif not batch.models[content]:
                batch.obstacles.update((path, obstacle(path, outcome)) for path in paths)

    def _read_picture(self, candidate: EvidenceFile, into: Sequence[Pixels]) -> dict[str, Any] | PictureError:
        return self._decoders.decode(candidate.path, into, state=candidate.state, thumbnail=self._details.thumbnails)

    def _embed(self, batch: _Batch) -> _Batch:
        self._leave_out_small(batch)
        started = time.perf_counter()
        for name, embedder in self._embedders.items():
            contents = [content for content in batch.pictures if name in batch.missing[content]]
            batch.vectors[name] = {}
            if not contents:
                continue
            pixels = batch.pixels[self._sizes.index(embedder.input_size)]
            if len(contents) < len(pixels):
                pixels = pixels[[batch.rows[content] for content in contents]]
            with self._timings.of("embed", len(contents), name, self._inference(name)):
                vectors = embedder.embed(pixels)
            for content, vector in zip(contents, vectors, strict=True):
                if is_usable(vector):
                    batch.vectors[name][content] = vector
                    batch.models[content].add(name)
                else:
                    batch.refused[content].add(name)
        self._adjust_batches(time.perf_counter() - started)
        batch.pixels = []  # nearly all the memory that a batch takes, while it waits to be stored
        return batch

    def _leave_out_small(self, batch: _Batch) -> None:
        for content, fields in list(batch.pictures.items()):
            if min(fields["width"], fields["height"]) >= self._details.min_side:
                continue
            del batch.pictures[content]
            reason = f"left out by {self._details.small_rule}"
            for candidate, digests in batch.contents.items():
                if digests.sha256 == content and not batch.models[content]:
                    batch.obstacles[candidate] = Obstacle(reason, skipped=True, rule=self._details.small_rule)

    def _write(self, batch: _Batch) -> tuple[list[Entry], int]:
        with self._timings.of("write", len(batch.previous)):
            return self._store(batch), batch.unchanged

    def _store(self, batch: _Batch) -> list[Entry]:
        first_paths: dict[str, str] = {}
        copies: dict[str, list[EvidenceFile]] = defaultdict(list)
        for candidate, digests in batch.contents.items():
            copies[digests.sha256].append(candidate)
        for name, images in self._images.items():
            occurrences = [
                self._occurrence(batch, name, content, paths)
                for content, paths in copies.items()
                if name in batch.models[content]
            ]
            first_paths = images.store(occurrences) | first_paths
        entries = [
            self._entry(batch, candidate, first_paths).following(previous)
            for candidate, previous in batch.previous.items()
        ]
        self._ledger.record(entries)
        logger.debug("stored %d entries, %d new pictures", len(entries), len(batch.pictures))
        return entries

    def _occurrence(self, batch: _Batch, model: str, content: str, paths: list[EvidenceFile]) -> Occurrence:
        labels: dict[str, None] = {}
        if self._details.label_folders:
            labels = dict.fromkeys(display_path(Path(path.path.parent.name)) for path in paths)
        document: dict[str, Any] | None = None
        vector = batch.vectors[model].get(content)
        if vector is not None:
            source = batch.sources[content]
            document = image_document(
                batch.contents[source], source, batch.pictures[content], vector, self._inference(model)
            )
        return Occurrence(content, [display_path(path.path) for path in paths], list(labels), document)

    def _inference(self, model: str) -> str | None:
        return getattr(self._embedders[model], "inference", None)

    def _entry(self, batch: _Batch, candidate: EvidenceFile, first_paths: dict[str, str]) -> Entry:
        digests = batch.contents.get(candidate)
        content = digests.sha256 if digests else None
        hindrance = batch.obstacles.get(candidate)
        if hindrance is not None:
            status = Status.SKIPPED if hindrance.skipped else Status.UNREADABLE
            return Entry(candidate, status, content, hindrance.reason, rule=hindrance.rule)
        if content is None:
            raise ValueError("a path with neither a content nor an obstacle")  # `_read` gives each one of them
        refused = tuple(sorted(batch.refused[content]))
        if not batch.models[content]:
            return refused_entry(candidate, content, refused)
        first = first_paths[content] == display_path(candidate.path)
        status = Status.INDEXED if first else Status.DUPLICATE
        return Entry(candidate, status, content, models=tuple(sorted(batch.models[content])), refused_by=refused)


def _ahead(executor: Executor, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in order, computed up to ``_AHEAD`` items ahead of the one that is being used."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) > _AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
