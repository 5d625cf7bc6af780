"""Cosine distance (thesis, section 2.4.3)."""

import numpy as np
from numpy.typing import NDArray

from simquery.distances.distance import Distance, Vectors, pairwise

__all__ = ["Cosine"]


class Cosine(Distance):
    """``1 − a·b / (‖a‖ ‖b‖)``.

    The script computes it from the euclidean distance, ``(‖a − b‖² − (‖a‖ − ‖b‖)²) / (2 ‖a‖ ‖b‖)``: one minus a
    float32 cosine would have no correct digit for near-duplicates, and equal vectors would not get exactly 0.
    """

    name = "cosine"
    functions = """
double cosine(double d, double normA, double normB) {
  double gap = normA - normB;
  return Math.max(0.0, (d * d - gap * gap) / (2.0 * normA * normB));
}
"""

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document, float64 (m, k)."""
        return pairwise(references, documents, "cosine")

    def call(self, i: int) -> str:
        """Return the Painless expression for reference ``i``."""
        return f"cosine(l2norm(params.q{i}, 'embedding'), params.norm{i}, doc['norm'].value)"
