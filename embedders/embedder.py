"""What an embedder is: a network cut at a layer, from pixels to feature vectors."""

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
        SHA-256 (hex) of the weights and of everything else that determines the result: layer, input size,
        preprocessing. Vectors are comparable only when their fingerprints are equal.
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
        """Feature vectors of a batch of pictures, in their order."""
        ...


def is_usable(vector: NDArray[np.float32]) -> bool:
    """Whether a vector has a direction: cosine and modified distance are undefined for the zero vector."""
    return bool(np.isfinite(vector).all() and np.any(vector))
