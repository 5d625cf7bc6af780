"""Third stage: the networks turn decoded pictures into vectors."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simquery.embedders import Embedder, is_usable
from simquery.errors import EmbedderError
from simquery.indexer.contents import Batch, Content
from simquery.indexer.details import Details
from simquery.indexer.failures import explained
from simquery.indexer.timings import Timings
from simquery.paths import display_path

__all__ = ["Embedding", "Pace", "engine_of", "refusal"]

_FIRST_BATCH = 64
_SMALLEST_BATCH = 16
_LARGEST_BATCH = 256
_BATCH_SECONDS = (0.4, 2.0)
"""Shortest and longest time, in seconds, that a batch should keep the networks busy. With small batches a fast network
often waits for the server; with large batches of a slow network, a killed run loses much work."""

_BATCH_BYTES = 64 << 20
"""Most bytes that the pixels of a batch may take; up to five batches are in progress at once."""


class Pace:
    """The number of files in the next batch.

    Parameters
    ----------
    sizes
        Input sizes (height, width) at which each picture is decoded.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        fitting = _BATCH_BYTES // sum(height * width * 3 for height, width in sizes)
        self._most = max(_SMALLEST_BATCH, min(_LARGEST_BATCH, fitting))
        self.batch_size = _FIRST_BATCH

    def adjust(self, seconds: float) -> None:
        """Adjust the size of the next batches, given how long the last one kept the networks busy."""
        shortest, longest = _BATCH_SECONDS
        if seconds > longest:
            self.batch_size = max(_SMALLEST_BATCH, self.batch_size // 2)
        elif seconds < shortest:
            self.batch_size = min(2 * self.batch_size, self._most)


class Embedding:
    """Embed a batch with every network that has not seen its pictures.

    Parameters
    ----------
    embedders
        The networks, by name.
    sizes
        Input sizes of the arrays in a batch's pixels.
    details
        The run's options: which pictures are too small.
    pace
        Adjusts the size of batches to the time that they take.
    timings
        Record of the busy time of each network.
    """

    def __init__(
        self,
        embedders: Mapping[str, Embedder],
        sizes: Sequence[tuple[int, int]],
        details: Details,
        pace: Pace,
        timings: Timings,
    ) -> None:
        self._embedders = embedders
        self._sizes = sizes
        self._details = details
        self._pace = pace
        self._timings = timings

    def __call__(self, batch: Batch) -> Batch:
        """Embed a batch's decoded contents."""
        decoded = [content for content in batch.contents if content.fields and not self._leave_out(content)]
        started = time.perf_counter()
        for embedder in self._embedders.values():
            contents = [content for content in decoded if embedder.name not in content.models]
            if contents:
                self._embed(embedder, contents, batch)
        self._pace.adjust(time.perf_counter() - started)
        batch.pixels = []  # frees nearly all memory of the batch while it waits to be stored
        return batch

    def _leave_out(self, content: Content) -> bool:
        fields = content.fields or {}
        if min(fields["width"], fields["height"]) >= self._details.min_side:
            return False
        content.left_out = self._details.small_rule
        return True

    def _embed(self, embedder: Embedder, contents: Sequence[Content], batch: Batch) -> None:
        pixels = batch.pixels[self._sizes.index(embedder.input_size)]
        if len(contents) < len(pixels):
            pixels = pixels[[content.row for content in contents]]
        action = f"embedding {len(contents)} pictures with model '{embedder.name}', the first of which is"
        with (
            explained(action, display_path(contents[0].source.path)),
            self._timings.of("embed", len(contents), embedder.name, engine_of(embedder)),
        ):
            vectors = embedder.embed(pixels)
        if len(vectors) != len(contents):
            raise EmbedderError(
                f"Model '{embedder.name}' returns {len(vectors)} vectors for {len(contents)} pictures: its 'embed' must"
                " return one vector for each picture, in the same order."
            )
        for content, vector in zip(contents, vectors, strict=True):
            problem = refusal(vector, embedder.dims)
            if problem is None:
                content.vectors[embedder.name] = vector
                content.models.add(embedder.name)
            else:
                content.refusals[embedder.name] = problem


def refusal(vector: NDArray[np.float32], dims: int) -> str | None:
    """Return why a network's vector cannot be stored, or None if it can."""
    if np.shape(vector) != (dims,):
        return f"gives {np.size(vector)} numbers for it instead of {dims}"
    if not np.isfinite(vector).all():
        return "gives numbers for it that are not finite"
    if not np.any(vector):
        return "finds nothing in it (all numbers are zero)"
    if not is_usable(vector):
        return "gives numbers for it that are too large or too small to compare"
    return None


def engine_of(embedder: Embedder) -> str | None:
    """Return the engine that computes the vectors (TensorFlow, OpenVINO), or None if the embedder does not name it."""
    return getattr(embedder, "inference", None)
