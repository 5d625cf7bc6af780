"""Distances between feature vectors; one a file."""

from simquery.distances.cosine import Cosine
from simquery.distances.distance import Distance, Vectors
from simquery.distances.euclidean import Euclidean
from simquery.distances.manhattan import Manhattan
from simquery.distances.modified import Modified
from simquery.distances.score import EPSILON, distance_of_score, score_expression

__all__ = [
    "DISTANCES",
    "EPSILON",
    "Distance",
    "Vectors",
    "distance_of_score",
    "score_expression",
]

DISTANCES: dict[str, Distance] = {
    distance.name: distance for distance in (Cosine(), Euclidean(), Manhattan(), Modified())
}
"""Every distance by its name."""
