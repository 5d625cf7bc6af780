"""Euclidean distance (thesis, section 2.4.1)."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from simquery.distances.distance import Distance, Vectors

__all__ = ["Euclidean"]


class Euclidean(Distance):
    """``‖a − b‖₂``."""

    name = "euclidean"
    aliases = ("l2",)

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Distances of every reference to every document, float64 (m, k)."""
        return cdist(references.astype(np.float64), documents.astype(np.float64), "euclidean")

    def call(self, i: int) -> str:
        """Painless expression for reference ``i``."""
        return f"l2norm(params.q{i}, 'embedding')"
