"""Search requests, built without a connection."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simquery.distances import EPSILON, Distance, score_expression, score_of_distance
from simquery.query.example import PUSH, Example

__all__ = ["FACTS", "MAX_CANDIDATES", "approximate_search", "exact_search", "following", "in_point"]

MAX_CANDIDATES = 10_000
"""Most candidates that Elasticsearch takes from a graph."""

FACTS = ("size", "format", "width", "height", "taken_at", "modified_at", "camera", "location", "labels", "truncated")
"""Fields that a hit shows of its picture, if the case has them."""

Clauses = Sequence[Mapping[str, Any]]


def exact_search(
    example: Example, distance: Distance, size: int, filters: Clauses = (), within: float | None = None
) -> dict[str, Any]:
    """Build the request that scores every document and returns the nearest, ordered by (distance, SHA-256).

    It takes one pass over the collection, whatever the number of references.

    Parameters
    ----------
    example, distance
        The vectors to compare documents with, and the distance to compare by.
    size
        Number of hits.
    filters
        Elasticsearch queries that must all match.
    within
        Greatest distance of a hit.
    """
    candidates = {"bool": {"filter": list(filters)}} if filters else {"match_all": {}}
    request = _search(example, distance, size, candidates)
    if within is not None:
        request["min_score"] = score_of_distance(within)
    return request


def approximate_search(
    example: Example, distance: Distance, size: int, candidates: int, filters: Clauses = ()
) -> dict[str, Any]:
    """Build the request that scores only what a graph over the vectors finds near a reference, with the exact distance.

    Parameters
    ----------
    example, distance, size, filters
        As for `exact_search`.
    candidates
        Number of candidates for each vector of the references, 1 to `MAX_CANDIDATES`.
    """
    graph = [
        {
            "knn": {
                "field": "embedding",
                "query_vector": vector.tolist(),
                "k": candidates,
                "num_candidates": candidates,
                "filter": list(filters),
            }
        }
        for vector in example.wanted
    ]
    return _search(example, distance, size, graph[0] if len(graph) == 1 else {"bool": {"should": graph}})


def in_point(request: Mapping[str, Any], point: Mapping[str, str]) -> dict[str, Any]:
    """Return the same request at a point in time, which always covers all shards."""
    return {name: value for name, value in request.items() if name != "allow_partial_search_results"} | {"pit": point}


def following(request: Mapping[str, Any], last: Sequence[Any]) -> dict[str, Any]:
    """Return the request for the hits that follow the one with the sort values ``last``."""
    return {**request, "search_after": list(last)}


def _search(example: Example, distance: Distance, size: int, query: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "size": size,
        "query": {
            "script_score": {
                "query": query,
                "script": {"source": _source(example, distance), "params": _parameters(example)},
            }
        },
        "sort": [{"_score": "desc"}, {"sha256": "asc"}],
        "source": ["paths", *FACTS],
        "track_total_hits": True,
        "allow_partial_search_results": False,
    }


def _source(example: Example, distance: Distance) -> str:
    push = PUSH if len(example.rejected) else ""
    return f"{distance.functions}{push}return {score_expression(example.expression(distance))};"


def _parameters(example: Example) -> dict[str, Any]:
    exact = example.vectors.astype(np.float64)
    parameters: dict[str, Any] = {"epsilon": EPSILON, "dims": exact.shape[1]}
    for i, vector in enumerate(exact):
        parameters[f"q{i}"] = vector.tolist()
        parameters[f"norm{i}"] = float(np.linalg.norm(vector))
        parameters[f"sum{i}"] = float(vector.sum())
    return parameters
