"""One pass over candidates: hash, decode, embed, store, and an entry in the ledger for each of them."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
from elasticsearch import Elasticsearch

from simquery.embedders import Embedder, Pixels, is_usable
from simquery.embedders.pictures import PictureFacts, UnreadError
from simquery.errors import PictureError
from simquery.indexer.candidates import Candidate
from simquery.indexer.images import Images, Occurrence, image_document
from simquery.indexer.ledger import Entry, Ledger, Status, refused_entry
from simquery.indexer.reading import Obstacle, hash_file, obstacle, read_picture
from simquery.mappings import install_templates, open_files_index, open_images_index
from simquery.paths import display_path

__all__ = ["Counts", "Indexer"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_BATCH = 32
_AHEAD = 2


@dataclass
class Counts:
    """How many paths came to which end; ``unchanged`` had come to theirs in an earlier run."""

    indexed: int = 0
    duplicate: int = 0
    unreadable: int = 0
    skipped: int = 0
    unchanged: int = 0

    @property
    def seen(self) -> int:
        """All paths so far."""
        return self.indexed + self.duplicate + self.unreadable + self.skipped + self.unchanged

    def add(self, status: Status) -> None:
        """Count one path."""
        setattr(self, status, getattr(self, status) + 1)


@dataclass
class _Batch:
    """Candidates that were read.

    Entries of before, contents, obstacles, pictures to embed by content, contents in which the network finds nothing.
    """

    unchanged: int = 0
    previous: dict[Candidate, Entry | None] = field(default_factory=dict)
    contents: dict[Candidate, str] = field(default_factory=dict)
    obstacles: dict[Candidate, Obstacle] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    pictures: dict[str, tuple[Candidate, PictureFacts, Pixels]] = field(default_factory=dict)


class Indexer:
    """Indexes candidates into a case with one embedder.

    Everything that is known of a picture is in Elasticsearch before its ledger entry is: a process killed in between
    loses nothing, since the next run sees no entry and looks again.
    """

    def __init__(
        self,
        client: Elasticsearch,
        case: str,
        embedder: Embedder,
        *,
        similarity: str = "cosine",
        vector_index: str = "int8_hnsw",
    ) -> None:
        install_templates(client)
        self._embedder = embedder
        self._ledger = Ledger(client, open_files_index(client, case))
        self._images = Images(
            client,
            open_images_index(
                client,
                case,
                embedder.name,
                embedder.dims,
                embedder.fingerprint,
                similarity=similarity,
                vector_index=vector_index,
            ),
        )
        self._stopped = threading.Event()
        self.counts = Counts()

    def index(self, candidates: Iterable[Candidate], progress: Callable[[Counts], None]) -> None:
        """Index candidates, reading the next ones while the network embeds the current ones.

        Parameters
        ----------
        candidates
            What `scan` or a watcher found.
        progress
            Called with the counts after each batch.
        """
        readers = ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2), "reader")
        preparer = ThreadPoolExecutor(1, "preparer")
        try:
            for batch in _ahead(preparer, lambda batch: self._read(batch, readers), _batches(candidates)):
                self._write(batch)
                progress(self.counts)
        except BaseException:
            self._stopped.set()  # readers give up in the middle of a file: nothing of this batch will be stored
            raise
        finally:
            readers.shutdown(cancel_futures=True)
            preparer.shutdown(cancel_futures=True)
        self._images.refresh()

    def _read(self, candidates: Sequence[Candidate], readers: Executor) -> _Batch:
        batch = _Batch()
        entries = self._ledger.lookup(candidates)
        for candidate, entry in zip(candidates, entries, strict=True):
            if entry is not None and entry.is_final(candidate, self._embedder.name):
                batch.unchanged += 1
            else:
                batch.previous[candidate] = entry
        hashes = readers.map(lambda candidate: hash_file(candidate, self._stopped.is_set), batch.previous)
        for candidate, outcome in zip(batch.previous, hashes, strict=True):
            if isinstance(outcome, Obstacle):
                batch.obstacles[candidate] = outcome
            else:
                batch.contents[candidate] = outcome
        self._decode(batch, readers)
        return batch

    def _decode(self, batch: _Batch, readers: Executor) -> None:
        known = self._images.known(batch.contents.values())
        copies: dict[str, list[Candidate]] = {}
        for candidate, content in batch.contents.items():
            if content not in known:
                copies.setdefault(content, []).append(candidate)
        firsts = [paths[0] for paths in copies.values()]
        outcomes = readers.map(self._read_picture, firsts)
        for (content, paths), first_outcome in zip(copies.items(), outcomes, strict=True):
            outcome = first_outcome
            while isinstance(outcome, UnreadError) and paths:  # the next copy may do better
                del batch.contents[paths[0]]
                batch.obstacles[paths[0]] = Obstacle(str(outcome))
                del paths[0]
                outcome = self._read_picture(paths[0]) if paths else outcome
            if isinstance(outcome, PictureError):
                batch.obstacles.update((path, obstacle(path, outcome)) for path in paths)
            else:
                batch.pictures[content] = (paths[0], *outcome)

    def _read_picture(self, candidate: Candidate) -> tuple[PictureFacts, Pixels] | PictureError:
        return read_picture(candidate, self._embedder.input_size)

    def _write(self, batch: _Batch) -> None:
        documents = self._embed(batch)
        stored = {
            candidate: content
            for candidate, content in batch.contents.items()
            if candidate not in batch.obstacles and content not in batch.refused
        }
        first_paths = self._images.store(
            Occurrence(content, display_path(candidate.path), documents.get(content))
            for candidate, content in stored.items()
        )
        entries = []
        for candidate, previous in batch.previous.items():
            content = batch.contents.get(candidate)
            if content is None or candidate in batch.obstacles:
                entry = _obstructed(candidate, content, batch.obstacles[candidate])
            elif content in batch.refused:
                entry = refused_entry(candidate, content, self._embedder.name)
            else:
                first = first_paths[content] == display_path(candidate.path)
                status = Status.INDEXED if first else Status.DUPLICATE
                entry = Entry(candidate, status, content, models=(self._embedder.name,))
            entries.append(entry.following(previous))
        self._ledger.record(entries)
        logger.debug("stored %d entries, %d new pictures", len(entries), len(documents))
        self.counts.unchanged += batch.unchanged
        for entry in entries:
            self.counts.add(entry.status)

    def _embed(self, batch: _Batch) -> dict[str, dict[str, object]]:
        if not batch.pictures:
            return {}
        pictures = list(batch.pictures.items())
        vectors = self._embedder.embed(np.stack([pixels for _, (_, _, pixels) in pictures]))
        documents = {}
        for (content, (candidate, facts, _)), vector in zip(pictures, vectors, strict=True):
            if is_usable(vector):
                documents[content] = image_document(content, candidate.size, facts, vector)
            else:
                batch.refused.add(content)
        return documents


def _obstructed(candidate: Candidate, content: str | None, obstacle: Obstacle) -> Entry:
    status = Status.SKIPPED if obstacle.skipped else Status.UNREADABLE
    return Entry(candidate, status, content, obstacle.reason)


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    return iter(lambda: tuple(islice(iterator, _BATCH)), ())


def _ahead(executor: Executor, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in order, computed up to ``_AHEAD`` items ahead of the one that is being used."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) > _AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
