"""Vectors as Elasticsearch stores them: big-endian float32 numbers in base64."""

import base64
from collections.abc import Sequence

import numpy as np
from elasticsearch.helpers import pack_dense_vector
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]


def pack(vector: NDArray[np.float32]) -> str:
    """Return the text to store for a vector, float32 (dims,): exact, and half the size of a list of numbers."""
    return pack_dense_vector(vector)


def unpack(stored: str | Sequence[float]) -> NDArray[np.float32]:
    """Return the vector, float32 (dims,), that Elasticsearch returns in the form it was stored in: text or a list."""
    if isinstance(stored, str):
        return np.frombuffer(base64.b64decode(stored), dtype=">f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)
