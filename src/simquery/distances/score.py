"""Conversion of distances to scores and back: Elasticsearch ranks by descending float32 score.

``score = 1 / (ε + distance)`` with ``ε = 2⁻¹⁰⁰``. The usual ``1 / (1 + distance)`` gives all distances below 6·10⁻⁸ one
score and blurs small ones; here a distance keeps float32's seven digits at every scale, and 0 comes back as exactly 0,
because ``2¹⁰⁰`` is a float32. A score is never infinite, negative or NaN, which would make the whole search fail.
"""

import math

import numpy as np

__all__ = ["EPSILON", "distance_of_score", "score_expression", "score_of_distance"]

EPSILON = 2.0**-100


def score_expression(distance: str) -> str:
    """Return the Painless expression of the score for a Painless expression of a distance ≥ 0."""
    return f"1.0 / (params.epsilon + {distance})"


def distance_of_score(score: float) -> float:
    """Return the distance that a score stands for.

    JSON carries a float32 in the fewest decimal digits that identify it; read as a float64, they are another number.
    """
    exact = float(np.float32(score))
    return max(0.0, 1.0 / exact - EPSILON) if exact else math.inf


def score_of_distance(distance: float) -> float:
    """Return the largest float32 not above the score of a distance: the least score of any nearer document."""
    exact = 1.0 / (EPSILON + distance)
    score = np.float32(exact)
    return float(score if score <= exact else np.nextafter(score, np.float32(0)))
