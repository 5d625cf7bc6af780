"""Manhattan distance (thesis, section 2.4.2)."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from simquery.distances.distance import Distance, Vectors

__all__ = ["Manhattan"]


class Manhattan(Distance):
    """``‖a − b‖₁``."""

    name = "manhattan"
    aliases = ("l1",)

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Distances of every reference to every document, float64 (m, k)."""
        return cdist(references.astype(np.float64), documents.astype(np.float64), "cityblock")

    def call(self, i: int) -> str:
        """Painless expression for reference ``i``."""
        return f"l1norm(params.q{i}, 'embedding')"
