"""The interface of an embedder: a network, cut at a layer, that turns pixels into feature vectors."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simquery.pictures.pixels import Pixels

__all__ = ["Embedder", "Features", "Pixels", "is_usable"]

Features = NDArray[np.float32]
"""Feature vectors: shape (n, dims)."""


@runtime_checkable
class Embedder(Protocol):
    """A network that turns pictures into feature vectors.

    Attributes
    ----------
    name : str
        Model name, part of the index name: ``[a-z0-9._@-]``.
    dims : int
        Length of a feature vector, at most 4096 (the limit of Elasticsearch).
    input_size : (int, int)
        Height and width of the pictures that `embed` takes.
    fingerprint : str
        SHA-256 (hex) of everything that determines the result: architecture, weights, layer, input size,
        preprocessing. Only vectors with equal fingerprints can be compared.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def dims(self) -> int: ...  # noqa: D102

    @property
    def input_size(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def embed(self, batch: Pixels) -> Features:
        """Return the feature vectors of a batch of pictures, in the same order."""
        ...


def is_usable(vector: NDArray[np.float32]) -> bool:
    """Return whether Elasticsearch can compute with a vector: its squared norm in float32 is finite and not zero.

    Cosine and modified distance are undefined for a zero vector. The squared norm of a very short or very long vector
    is 0 or infinite.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = np.dot(vector.astype(np.float32), vector.astype(np.float32))
    return bool(np.isfinite(squared) and squared > 0)
