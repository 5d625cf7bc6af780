"""Agreement between a student's and its teacher's nearest neighbours, on photos that neither was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return all pairwise cosines, with -inf on the diagonal: a picture is not its own neighbour."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similar: NDArray[np.float32] = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return similar


def agreement(student: NDArray[np.float32], teacher: NDArray[np.float32]) -> dict[str, float]:
    """Compare the rankings of the same pictures by two sets of vectors.

    Parameters
    ----------
    student, teacher
        (n, any dims), the same pictures in the same order.

    Returns
    -------
    dict
        ``overlap``: the share of the teacher's 10 nearest neighbours among the student's 10;
        ``map``: mean average precision when those 10 count as relevant.
    """
    count = min(NEIGHBOURS, len(teacher) - 1)
    relevant = np.argsort(-cosines(teacher), axis=1)[:, :count]
    order = np.argsort(-cosines(student), axis=1)
    ranks = np.argsort(order, axis=1)
    found = np.sort(np.take_along_axis(ranks, relevant, axis=1), axis=1) + 1
    precision = np.arange(1, count + 1) / found
    return {"overlap": float((found <= count).mean()), "map": float(precision.mean())}
