"""Distances between feature vectors, one per file."""

from simquery.distances.distance import Distance, Similarity, Vectors
from simquery.distances.registry import DISTANCES, ENTRY_POINTS, find_distance
from simquery.distances.score import EPSILON, distance_of_score, score_expression, score_of_distance

__all__ = [
    "DISTANCES",
    "ENTRY_POINTS",
    "EPSILON",
    "Distance",
    "Similarity",
    "Vectors",
    "distance_of_score",
    "find_distance",
    "score_expression",
    "score_of_distance",
]
