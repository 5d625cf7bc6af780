"""Vectors as Elasticsearch stores them: big-endian float32 numbers in base64."""

import base64
from collections.abc import Sequence

import numpy as np
from elasticsearch.helpers import pack_dense_vector
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]


def pack(vector: NDArray[np.float32]) -> str:
    """Text to store for a vector, float32 (dims,): half the size of a list of numbers, and exact."""
    return pack_dense_vector(vector)


def unpack(stored: str | Sequence[float]) -> NDArray[np.float32]:
    """Vector, float32 (dims,), of what Elasticsearch returns: the form that it was stored in, text or a list."""
    if isinstance(stored, str):
        return np.frombuffer(base64.b64decode(stored), dtype=">f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)
