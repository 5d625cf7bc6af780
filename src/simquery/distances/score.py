"""Elasticsearch ranks by descending float32 score: how a distance becomes one, and is read back from it.

``score = 1 / (ε + distance)`` with ``ε = 2⁻¹⁰⁰``. The usual ``1 / (1 + distance)`` gives all distances below 6·10⁻⁸ one
score and blurs small ones; here a distance keeps float32's seven digits at every scale, and 0 comes back as exactly 0,
since ``2¹⁰⁰`` is a float32. A score is never infinite, negative or NaN, which would fail the whole search.
"""

import math

import numpy as np

__all__ = ["EPSILON", "distance_of_score", "score_expression", "score_of_distance"]

EPSILON = 2.0**-100


def score_expression(distance: str) -> str:
    """Painless expression of the score for a Painless expression of a distance ≥ 0."""
    return f"1.0 / (params.epsilon + {distance})"


def distance_of_score(score: float) -> float:
    """Distance that a score stands for.

    JSON carries a float32 in as few decimal digits as tell it apart: read as a float64 it is not the same number.
    """
    exact = float(np.float32(score))
    return max(0.0, 1.0 / exact - EPSILON) if exact else math.inf


def score_of_distance(distance: float) -> float:
    """Largest float32 that is no greater than the score of a distance: the least that a nearer document has."""
    exact = 1.0 / (EPSILON + distance)
    score = np.float32(exact)
    return float(score if score <= exact else np.nextafter(score, np.float32(0)))
