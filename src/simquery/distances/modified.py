"""Modified distance (Ivanov et al.; the thesis, section 2.4.4, prints it for three dimensions)."""

import numpy as np
from numpy.typing import NDArray

from simquery.distances.distance import Distance, Vectors, pairwise

__all__ = ["Modified"]

_LEAST_PRODUCT = 2.0**-40
_LEAST_SPREAD = 1e-6


class Modified(Distance):
    """The thesis' formula in n dimensions, ``t1² + t2² + t3²``.

    With ``ã = a − mean(a)``: ``t1 = ‖a−b‖² / (Σa·Σb)``,  ``t2 = 1 − a·b / (‖a‖‖b‖)``,
    ``t3 = ‖ã−b̃‖² / (2 (‖ã‖² + ‖b̃‖²))``.

    All three follow from one ``l2norm`` and four scalars. Two edge cases are defined here (docs/adr/0003):

    * ``|Σa·Σb|`` counts as at least 2⁻⁴⁰ ‖a‖‖b‖. A vector whose components cancel out is far from everything except
      itself, as in the limit, and the distance stays finite.
    * Where both vectors are constant to within float32, ``‖ã‖² + ‖b̃‖² ≤ 10⁻⁶ (‖a‖² + ‖b‖²)``, t3 is 0.
    """

    name = "modified"
    functions = f"""
double modified(double d, double normA, double sumA, double normB, double sumB, double n) {{
  double d2 = d * d;
  double a2 = normA * normA;
  double b2 = normB * normB;
  double ab = normA * normB;
  double gap = normA - normB;
  double shift = sumA - sumB;
  double spread = (a2 - sumA * sumA / n) + (b2 - sumB * sumB / n);
  double t1 = d2 / Math.max(Math.abs(sumA * sumB), {_LEAST_PRODUCT!r} * ab);
  double t2 = Math.max(0.0, (d2 - gap * gap) / (2.0 * ab));
  double t3 = spread <= {_LEAST_SPREAD!r} * (a2 + b2) ? 0.0 : Math.max(0.0, d2 - shift * shift / n) / (2.0 * spread);
  return t1 * t1 + t2 * t2 + t3 * t3;
}}
"""

    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document, float64 (m, k)."""
        a = references.astype(np.float64)
        b = documents.astype(np.float64)
        norms = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
        sums = np.abs(np.outer(a.sum(axis=1), b.sum(axis=1)))
        t1 = pairwise(a, b, "sqeuclidean") / np.maximum(sums, _LEAST_PRODUCT * norms)
        t2 = pairwise(a, b, "cosine")
        return np.asarray(t1**2 + t2**2 + _centred_term(a, b) ** 2)

    def call(self, i: int) -> str:
        """Return the Painless expression for reference ``i``."""
        return (
            f"modified(l2norm(params.q{i}, 'embedding'), params.norm{i}, params.sum{i},"
            " doc['norm'].value, doc['sum'].value, params.dims)"
        )


def _centred_term(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    centred_a = a - a.mean(axis=1, keepdims=True)
    centred_b = b - b.mean(axis=1, keepdims=True)
    spread = np.add.outer((centred_a**2).sum(axis=1), (centred_b**2).sum(axis=1))
    total = np.add.outer((a**2).sum(axis=1), (b**2).sum(axis=1))
    constant = spread <= _LEAST_SPREAD * total
    return np.where(
        constant, 0.0, pairwise(centred_a, centred_b, "sqeuclidean") / np.where(constant, 1.0, 2.0 * spread)
    )
