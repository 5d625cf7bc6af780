"""Pearson correlation distance: the cosine distance of centred vectors."""

import numpy as np
from numpy.typing import NDArray

from simquery.distances.distance import Distance, Vectors, pairwise

__all__ = ["Pearson"]

_LEAST_SPREAD = 1e-6


class Pearson(Distance):
    """``1 − ã·b̃ / (‖ã‖ ‖b̃‖)`` with ``ã = a − mean(a)``.

    The mean of a vector's features says little about a picture, and this distance ignores it. Like the modified
    distance, it follows from one ``l2norm`` and four scalars:
    ``((‖a−b‖² − (Σa−Σb)²/n) − (‖ã‖ − ‖b̃‖)²) / (2 ‖ã‖ ‖b̃‖)``, with ``‖ã‖² = ‖a‖² − (Σa)²/n``.

    A vector that is constant to within float32, ``‖ã‖² ≤ 10⁻⁶ ‖a‖²``, has no direction: its distance to another such
    vector is 0, to any other vector 1.
    """

    name = "pearson"
    aliases = ("correlation",)
    functions = f"""
double pearson(double d, double normA, double sumA, double normB, double sumB, double n) {{
  double a2 = normA * normA - sumA * sumA / n;
  double b2 = normB * normB - sumB * sumB / n;
  boolean flatA = a2 <= {_LEAST_SPREAD!r} * normA * normA;
  boolean flatB = b2 <= {_LEAST_SPREAD!r} * normB * normB;
  if (flatA || flatB) {{
    return flatA && flatB ? 0.0 : 1.0;
  }}
  double shift = sumA - sumB;
  double gap = Math.sqrt(a2) - Math.sqrt(b2);
  return Math.max(0.0, (d * d - shift * shift / n - gap * gap) / (2.0 * Math.sqrt(a2 * b2)));
}}
"""

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document, float64 (m, k)."""
        a, flat_a = _centred(references)
        b, flat_b = _centred(documents)
        edge = np.where(np.logical_and.outer(flat_a, flat_b), 0.0, 1.0)
        return np.where(np.logical_or.outer(flat_a, flat_b), edge, pairwise(a, b, "cosine"))

    def call(self, i: int) -> str:
        """Return the Painless expression for reference ``i``."""
        return (
            f"pearson(l2norm(params.q{i}, 'embedding'), params.norm{i}, params.sum{i},"
            " doc['norm'].value, doc['sum'].value, params.dims)"
        )


def _centred(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    exact = vectors.astype(np.float64)
    centred = exact - exact.mean(axis=1, keepdims=True)
    flat = (centred**2).sum(axis=1) <= _LEAST_SPREAD * (exact**2).sum(axis=1)
    centred[flat] = 1.0  # any direction will do: `between` overwrites the result
    return centred, flat
