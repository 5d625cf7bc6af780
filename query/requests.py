"""Search requests, built without talking to anyone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.distances import EPSILON, Distance, score_expression

__all__ = ["MAX_REFERENCES", "exact_search"]

MAX_REFERENCES = 64
"""Each reference has a place of its own in the script, whose size Elasticsearch limits."""


def exact_search(distance: Distance, references: NDArray[np.float32], k: int) -> dict[str, Any]:
    """Request that scores every document and returns the ``k`` nearest, ordered by (distance, SHA-256).

    With several references the distance of a document is the sum of its distances to them (thesis, section 4.1.3), in
    one pass over the collection.

    Parameters
    ----------
    distance
        The distance.
    references : float32, shape (m, dims)
        Feature vectors of the references.
    k
        How many hits, 1 to 10,000.
    """
    return {
        "size": k,
        "query": {
            "script_score": {
                "query": {"match_all": {}},
                "script": {"source": _source(distance, len(references)), "params": _parameters(references)},
            }
        },
        "sort": [{"_score": "desc"}, {"sha256": "asc"}],
        "source": ["sha256", "paths"],
        "track_total_hits": True,
        "allow_partial_search_results": False,
    }


def _source(distance: Distance, count: int) -> str:
    total = " + ".join(distance.call(i) for i in range(count))
    return f"{distance.functions}return {score_expression(f'({total})')};"


def _parameters(references: NDArray[np.float32]) -> dict[str, Any]:
    exact = references.astype(np.float64)
    parameters: dict[str, Any] = {"epsilon": EPSILON, "dims": references.shape[1]}
    for i, vector in enumerate(exact):
        parameters[f"q{i}"] = vector.tolist()
        parameters[f"norm{i}"] = float(np.linalg.norm(vector))
        parameters[f"sum{i}"] = float(vector.sum())
    return parameters
