"""Runs: hash, decode, embed and store batches of files, and record every file in the ledger."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from elasticsearch import Elasticsearch

from simquery.cluster.waiting import PATIENCE_SECONDS, Cluster
from simquery.embedders import Embedder
from simquery.indexer.absence import Absence
from simquery.indexer.contents import Batch
from simquery.indexer.decoding import Decoding
from simquery.indexer.details import Details
from simquery.indexer.embedding import Embedding, Pace, engine_of
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.hashing import LARGE_BYTES, Hashing
from simquery.indexer.images import Images
from simquery.indexer.ledger import Entry, Ledger, Status
from simquery.indexer.storing import Storing
from simquery.indexer.timings import Timings
from simquery.indexer.workers import Workers
from simquery.mappings import install_templates, open_files_index, open_images_index
from simquery.pictures.decoders import shared_decoders

__all__ = ["Counts", "Indexer"]

logger = logging.getLogger(__name__)

_AHEAD = 2
_LARGE_AT_ONCE = 4
_FAREWELL_SECONDS = 2.0
"""Seconds that a failed run waits for its threads; it leaves threads behind that hang."""

_LOOK_SECONDS = 0.1

_PLAIN = Details()


@dataclass
class Counts:
    """Number of paths by their result.

    ``unchanged`` paths were recorded by an earlier run, and ``gone`` ones have disappeared since then.
    """

    indexed: int = 0
    duplicate: int = 0
    unreadable: int = 0
    skipped: int = 0
    unchanged: int = 0
    gone: int = 0

    @property
    def seen(self) -> int:
        """Number of paths that exist."""
        return self.indexed + self.duplicate + self.unreadable + self.skipped + self.unchanged

    def add(self, status: Status) -> None:
        """Count one path."""
        setattr(self, status, getattr(self, status) + 1)


class Indexer:
    """Index evidence files into a case with one or several networks.

    A run stores everything about a picture before it writes the picture's ledger entry. If the process is killed in
    between, nothing is lost: the next run finds no entry and looks at the file again.

    Parameters
    ----------
    client
        Connection to the cluster.
    case
        The case.
    embedders
        One network, or several: each picture is read and decoded once for all of them.
    details
        Further options.
    patience_seconds
        Seconds that a run waits for a cluster that is away.
    similarity, vector_index
        How new images indices find candidates for approximate queries; see `simquery.mappings.open_images_index`.

    Attributes
    ----------
    counts
        Results of all runs of this indexer so far.
    """

    def __init__(
        self,
        client: Elasticsearch,
        case: str,
        embedders: Embedder | Sequence[Embedder],
        details: Details = _PLAIN,
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        similarity: str = "cosine",
        vector_index: str = "int8_hnsw",
    ) -> None:
        install_templates(client)
        several = [embedders] if isinstance(embedders, Embedder) else embedders
        self._client = client
        self._case = case
        self._patience_seconds = patience_seconds
        self._embedders = {embedder.name: embedder for embedder in several}
        self._details = details
        self._files_index = open_files_index(client, case)
        graph = {"similarity": similarity, "vector_index": vector_index}
        self._images_indices = {
            name: open_images_index(client, case, name, embedder.dims, embedder.fingerprint, **graph)
            for name, embedder in self._embedders.items()
        }
        self._pace = Pace(_sizes(self._embedders))
        self._timings = Timings(client, case)
        self.counts = Counts()

    def index(self, files: Iterable[EvidenceFile], progress: Callable[[Counts], None]) -> None:
        """Index files. While the networks embed one batch, the next is read and the previous one stored.

        Large files come last. An indexer can be used again, also after a failed run.

        Parameters
        ----------
        files
            Files that `scan` or a watcher found.
        progress
            Called with the counts after each batch.
        """
        logger.debug("indexing begins")
        cluster = Cluster(self._client, self._patience_seconds)
        images = {name: Images(cluster, index) for name, index in self._images_indices.items()}
        ledger = Ledger(cluster, self._files_index)
        with _Run(cluster) as run:
            for entries, unchanged in run.stored(self._batches(files), *self._stages(run, ledger, images)):
                self.counts.unchanged += unchanged
                for entry in entries:
                    self.counts.add(entry.status)
                progress(self.counts)
                self._timings.store(only_if_due=True)
        ledger.refresh()
        for each in images.values():
            each.refresh()
        self._timings.store()

    def record_gone(self, folder: Path, *, missing_is_true: bool = False) -> None:
        """Record which paths below an evidence folder are gone: see `Absence.record_below`."""
        self.counts.gone += self._absence.record_below(folder, missing_is_true=missing_is_true)

    def record_seen_gone(self, paths: Sequence[Path]) -> None:
        """Record that paths that a watcher saw disappear are gone, and everything below them."""
        self.counts.gone += self._absence.record_seen(paths)

    @property
    def _absence(self) -> Absence:
        cluster = Cluster(self._client, self._patience_seconds)
        return Absence(cluster, Ledger(cluster, self._files_index), self._case)

    def _stages(
        self, run: "_Run", ledger: Ledger, images: Mapping[str, Images]
    ) -> tuple[Hashing, Decoding, Embedding, Storing]:
        sizes, details, timings = _sizes(self._embedders), self._details, self._timings
        engines = {name: engine_of(embedder) for name, embedder in self._embedders.items()}
        return (
            Hashing(ledger, self._embedders, details, run.readers, timings),
            Decoding(images, sizes, run.decoders, run.readers, timings, thumbnails=details.thumbnails),
            Embedding(self._embedders, sizes, details, self._pace, timings),
            Storing(images, engines, ledger, timings, label_folders=details.label_folders),
        )

    def _batches(self, files: Iterable[EvidenceFile]) -> Iterator[Sequence[EvidenceFile]]:
        large: list[EvidenceFile] = []

        def small() -> Iterator[EvidenceFile]:
            for file in files:
                if file.size > LARGE_BYTES:
                    large.append(file)
                else:
                    yield file

        iterator = small()
        while batch := tuple(islice(iterator, self._pace.batch_size)):
            yield batch
        large.sort(key=lambda file: file.size)
        for start in range(0, len(large), _LARGE_AT_ONCE):
            yield large[start : start + _LARGE_AT_ONCE]


class _Run:
    """The threads of one run, which end with it."""

    def __init__(self, cluster: Cluster) -> None:
        self.decoders = shared_decoders()
        self._cluster = cluster

    def __enter__(self) -> Self:
        self.readers = Workers(min(8, (os.cpu_count() or 1) + 2), "reader")
        self._preparer = Workers(1, "preparer")
        self._writer = Workers(1, "writer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = (self.readers, self._preparer, self._writer)
        if error is not None:
            self._cluster.stop()
        for each in workers:
            each.close()  # readers stop even in the middle of a file, because their batch will not be stored
        end = time.monotonic() + _FAREWELL_SECONDS
        while threads := [thread for each in workers for thread in each.threads if thread.is_alive()]:
            if error is not None:
                self.decoders.abandon(threads)
                if time.monotonic() > end:
                    logger.warning("Some files or requests still do not answer; the run ends without waiting for them.")
                    break
            threads[0].join(_LOOK_SECONDS)

    def stored(
        self,
        batches: Iterable[Sequence[EvidenceFile]],
        hashing: Hashing,
        decoding: Decoding,
        embedding: Embedding,
        storing: Storing,
    ) -> Iterator[tuple[list[Entry], int]]:
        """Pass batches through the stages, several at a time, and yield what the last stage returns for each."""

        def prepare(files: Sequence[EvidenceFile]) -> Batch:
            return decoding(hashing(files))

        prepared = self._preparer.ahead(prepare, batches, _AHEAD)
        return self._writer.ahead(storing, map(embedding, prepared), _AHEAD)


def _sizes(embedders: Mapping[str, Embedder]) -> list[tuple[int, int]]:
    return sorted({embedder.input_size for embedder in embedders.values()})
