"""Bray–Curtis distance: the Manhattan distance relative to the sums of both vectors."""

import numpy as np
from numpy.typing import NDArray

from simquery.distances.distance import Distance, Vectors, pairwise

__all__ = ["BrayCurtis"]

_LEAST_TOTAL = 2.0**-40


class BrayCurtis(Distance):
    """``‖a − b‖₁ / (|Σa| + |Σb|)``, which is Bray–Curtis for features that are never negative.

    The features of all networks in the thesis never are. For other networks, ``|Σa| + |Σb|`` counts as at least
    2⁻⁴⁰ ``(‖a‖₂ + ‖b‖₂)``, so that the distance stays finite.
    """

    name = "braycurtis"
    functions = f"""
double braycurtis(double d, double normA, double sumA, double normB, double sumB) {{
  return d / Math.max(Math.abs(sumA) + Math.abs(sumB), {_LEAST_TOTAL!r} * (normA + normB));
}}
"""

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document, float64 (m, k)."""
        a, b = references.astype(np.float64), documents.astype(np.float64)
        totals = np.add.outer(np.abs(a.sum(axis=1)), np.abs(b.sum(axis=1)))
        norms = np.add.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
        return np.asarray(pairwise(a, b, "cityblock") / np.maximum(totals, _LEAST_TOTAL * norms))

    def call(self, i: int) -> str:
        """Return the Painless expression for reference ``i``."""
        return (
            f"braycurtis(l1norm(params.q{i}, 'embedding'), params.norm{i}, params.sum{i},"
            " doc['norm'].value, doc['sum'].value)"
        )
