"""Manhattan distance (thesis, section 2.4.2)."""

import numpy as np
from numpy.typing import NDArray

from simquery.distances.distance import Distance, Vectors, pairwise

__all__ = ["Manhattan"]


class Manhattan(Distance):
    """``‖a − b‖₁``."""

    name = "manhattan"
    aliases = ("l1",)
    graph = "l2_norm"

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document, float64 (m, k)."""
        return pairwise(references, documents, "cityblock")

    def call(self, i: int) -> str:
        """Return the Painless expression for reference ``i``."""
        return f"l1norm(params.q{i}, 'embedding')"
