"""Feature vectors of a data set by a model: taken from the case or the cache, or computed by the network."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from simquery.cluster.vectors import unpack
from simquery.embedders import Embedder, Features, Pixels, is_usable
from simquery.embedders.backend import has_gpu
from simquery.errors import CaseError, PictureError
from simquery.evaluation.dataset import Dataset, LabelledPicture
from simquery.mappings import embedding_facts, images_index
from simquery.pictures.decoders import shared_decoders
from simquery.pictures.files import CHANGED, FileState, open_evidence, sha256_of, unread_reason

__all__ = [
    "CaseVectors",
    "Embedded",
    "Inference",
    "VectorCache",
    "embed_dataset",
    "embed_in_batches",
    "embed_pictures",
    "unreadable",
]

_CHUNK = 256
_BATCH = 32
_PAGE = 500
_ENGINES = ("tensorflow", "openvino")


@dataclass(frozen=True)
class Inference:
    """How vectors are computed; another engine, version, precision or device gives other last digits.

    Attributes
    ----------
    engine
        ``tensorflow``, ``openvino``, or ``own`` for a lab's own embedder, whose fingerprint must cover the rest.
    version
        Version of the engine.
    precision
        Precision of the arithmetic: ``float32`` or ``mixed_float16``.
    device
        ``CPU`` or ``GPU``.
    """

    engine: str
    version: str = ""
    precision: str = ""
    device: str = ""

    @classmethod
    def of(cls, embedder: Embedder) -> "Inference":
        """Return how an embedder computes its vectors."""
        engine, _, precision = (getattr(embedder, "inference", None) or "own").partition(" ")
        if engine not in _ENGINES:
            return cls("own")
        device = "GPU" if engine == "tensorflow" and has_gpu() else "CPU"
        return cls(engine, import_module(engine).__version__, precision or "float32", device)

    def __str__(self) -> str:
        return "-".join(part for part in (self.engine, self.version, self.precision, self.device) if part)


@dataclass(frozen=True, eq=False)
class Embedded:
    """A data set embedded by a model.

    Attributes
    ----------
    model, fingerprint
        Name and fingerprint of the embedder; vectors with different fingerprints cannot be compared.
    vectors : float32, shape (n, dims)
        Vectors in the order of the data set's pictures; zero for a picture without a vector.
    reasons
        Why a picture has no vector, by SHA-256.
    inference
        How the vectors were computed; None if all come from the case, which does not tell.
    from_case
        Number of vectors taken from the case.
    """

    model: str
    fingerprint: str
    vectors: Features
    reasons: Mapping[str, str]
    inference: Inference | None
    from_case: int


class VectorCache:
    """Cache of feature vectors on disk by content, with one folder for each fingerprint and `Inference`.

    Each file holds the vectors of some contents and is written completely or not at all. An interrupted run can
    continue, and several runs may write at the same time. The folder can be deleted at any time.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        inference = Inference.of(embedder)
        self._folder = folder / "embeddings" / f"{embedder.name}-{embedder.fingerprint[:16]}-{inference}"
        self._dims = embedder.dims

    def fill(self, contents: Sequence[str], vectors: Features) -> NDArray[np.bool_]:
        """Put the vectors of some contents into the rows of ``vectors``; returns which rows were filled, bool (n,)."""
        rows = {content: row for row, content in enumerate(contents)}
        filled = np.zeros(len(contents), dtype=bool)
        for file in sorted(self._folder.glob("*.npz")):
            with np.load(file) as stored:
                places = np.array([rows.get(name, -1) for name in stored["contents"].tolist()], dtype=np.int64)
                wanted = places >= 0
                if wanted.any():
                    vectors[places[wanted]] = stored["vectors"][wanted]
                    filled[places[wanted]] = True
        return filled

    def store(self, contents: Sequence[str], vectors: Features) -> None:
        """Store the vectors, float32 (n, dims), of some contents."""
        if not contents:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(contents).encode()).hexdigest()[:24]
        partial = self._folder / f"{name}.{os.getpid()}.partial"
        with partial.open("wb") as file:
            np.savez(file, contents=np.array(contents), vectors=vectors)
        partial.replace(self._folder / f"{name}.npz")


class CaseVectors:
    """Feature vectors that a case already holds.

    Raises
    ------
    CaseError
        When nothing has been indexed for this case and model.
    """

    def __init__(self, client: Elasticsearch, case: str, model: str) -> None:
        self._client = client
        self._index = images_index(case, model)
        facts = embedding_facts(client, case, model)
        self.dims, self.fingerprint = facts.dims, facts.fingerprint

    def fill(self, contents: Sequence[str], vectors: Features) -> NDArray[np.bool_]:
        """Put the vectors of some contents into the rows of ``vectors``; returns which rows were filled, bool (n,)."""
        filled = np.zeros(len(contents), dtype=bool)
        for start in range(0, len(contents), _PAGE):
            page = {content: start + place for place, content in enumerate(contents[start : start + _PAGE])}
            answer = self._client.search(
                index=self._index,
                query={"ids": {"values": list(page)}},
                size=_PAGE,
                source={"includes": ["embedding"], "exclude_vectors": False},
                allow_partial_search_results=False,
            )
            for hit in answer["hits"]["hits"]:
                vectors[page[hit["_id"]]] = unpack(hit["_source"]["embedding"])
                filled[page[hit["_id"]]] = True
        return filled


def embed_dataset(
    dataset: Dataset,
    model: str,
    build: Callable[[], Embedder],
    cache: Path,
    *,
    client: Elasticsearch | None = None,
    case: str = "default",
    progress: Callable[[int], None] = lambda _: None,
) -> Embedded:
    """Embed all pictures of a data set by one model.

    The network is built only if the case lacks a picture.

    Parameters
    ----------
    dataset
        The pictures.
    model
        Registered name of the model.
    build
        Builds its embedder.
    cache
        Folder of the cache.
    client, case
        Case to take vectors from. Without a client, or if the case was indexed with other weights, only the cache is
        used.
    progress
        Called with the number of pictures done so far.
    """
    contents = [picture.sha256 for picture in dataset.pictures]
    stored = _case_vectors(client, case, model)
    if stored is not None:
        vectors = np.zeros((len(contents), stored.dims), dtype=np.float32)
        filled = stored.fill(contents, vectors)
        if filled.all():
            progress(len(contents))
            return Embedded(model, stored.fingerprint, vectors, {}, None, len(contents))
    embedder = build()
    if stored is None or stored.fingerprint != embedder.fingerprint:
        vectors = np.zeros((len(contents), embedder.dims), dtype=np.float32)
        filled = np.zeros(len(contents), dtype=bool)
    store = VectorCache(cache, embedder)
    missing = np.flatnonzero(~filled)
    own = np.zeros((len(missing), embedder.dims), dtype=np.float32)
    reasons = embed_pictures([dataset.pictures[row] for row in missing], embedder, store, own, progress)
    vectors[missing] = own
    return Embedded(model, embedder.fingerprint, vectors, reasons, Inference.of(embedder), len(contents) - len(missing))


def embed_pictures(
    pictures: Sequence[LabelledPicture],
    embedder: Embedder,
    cache: VectorCache,
    vectors: Features,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, str]:
    """Fill the rows of ``vectors``, float32 (n, dims), from the cache or by the network, and cache them.

    Returns
    -------
    dict
        Why a picture has no vector, by SHA-256; its row stays zero.
    """
    filled = cache.fill([picture.sha256 for picture in pictures], vectors)
    reasons: dict[str, str] = {}
    missing = np.flatnonzero(~filled)
    done = len(pictures) - len(missing)
    progress(done)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(missing), _CHUNK):
            rows = missing[start : start + _CHUNK]
            decoded = list(pool.map(lambda row: _read(pictures[row], embedder.input_size), rows))
            read = dict(zip(rows.tolist(), decoded, strict=True))
            reasons |= {pictures[row].sha256: why for row, why in read.items() if isinstance(why, str)}
            good = {row: pixels for row, pixels in read.items() if not isinstance(pixels, str)}
            done += len(read) - len(good)
            for row, vector in zip(good, embed_in_batches(list(good.values()), embedder), strict=True):
                if is_usable(vector):
                    vectors[row] = vector
                    filled[row] = True
                else:
                    reasons[pictures[row].sha256] = f"model '{embedder.name}' finds nothing in it"
                done += 1
                progress(done)
            kept = [row for row in read if filled[row]]
            cache.store([pictures[row].sha256 for row in kept], vectors[kept])
            progress(done)
    return reasons


def unreadable(dataset: Dataset, progress: Callable[[int], None] = lambda _: None) -> dict[str, str]:
    """Decode every file of a data set, and return why some pictures cannot be read, by SHA-256."""
    reasons = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda picture: _read(picture, (1, 1)), dataset.pictures)
        for count, (picture, reason) in enumerate(zip(dataset.pictures, read, strict=True), start=1):
            progress(count)
            if isinstance(reason, str):
                reasons[picture.sha256] = reason
    return reasons


def embed_in_batches(pixels: Sequence[Pixels], embedder: Embedder) -> Iterator[NDArray[np.float32]]:
    """Yield the feature vectors, float32 (dims,), of pictures at the embedder's input size."""
    for start in range(0, len(pixels), _BATCH):
        yield from embedder.embed(np.stack(pixels[start : start + _BATCH]))


def _read(picture: LabelledPicture, size: tuple[int, int]) -> Pixels | str:
    """Return the pixels of a picture, decoded in a separate process, or why there are none."""
    pixels = np.empty((*size, 3), dtype=np.uint8)
    try:
        with open_evidence(picture.file) as file:
            status = os.fstat(file.fileno())
            if sha256_of(file) != picture.sha256:
                return CHANGED
    except OSError as error:
        return unread_reason(error)
    state = FileState(status.st_size, status.st_mtime_ns)
    decoded = shared_decoders().decode(picture.file, [pixels], state=state)
    return str(decoded) if isinstance(decoded, PictureError) else pixels


def _case_vectors(client: Elasticsearch | None, case: str, model: str) -> CaseVectors | None:
    if client is None:
        return None
    try:
        return CaseVectors(client, case, model)
    except CaseError:
        return None
