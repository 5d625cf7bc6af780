"""Distances from references to a whole collection, and the rankings by them, without a loop over pictures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simquery.distances import Distance, Vectors

__all__ = ["distances_to", "order_of"]

_BLOCK_BYTES = 64 << 20
_EQUAL = 1e-12
"""Share of the squared norms below which a squared distance is a rounding error: the float32 vectors are equal."""

_LEAST_SUM = 1e-5
_LEAST_SPREAD = 1e-4


def distances_to(distance: Distance, references: Vectors, documents: Vectors) -> NDArray[np.float32]:
    """Return the distance of every reference to every document.

    Cosine, euclidean and modified distance follow from one float64 matrix product for each block of documents. All
    other distances, and edge cases of a definition, go through `Distance.between`. The result is rounded to float32:
    differences in the eighth digit come from the order of summation, and count as ties.

    Parameters
    ----------
    distance
        The distance.
    references : (m, dims)
    documents : (k, dims)

    Returns
    -------
    float32, shape (m, k)
    """
    form = _FORMS.get(distance.name)
    a = references.astype(np.float64)
    result = np.empty((len(a), len(documents)), dtype=np.float32)
    rows = max(1, _BLOCK_BYTES // (8 * a.shape[1]))
    for start in range(0, len(documents), rows):
        b = documents[start : start + rows].astype(np.float64)
        values = form(_Squares.of(a, b)) if form is not None else None
        result[:, start : start + rows] = distance.between(a, b) if values is None else values
    return result


def order_of(distances: NDArray[np.float32], left_out: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the documents by (distance, row), without those left out.

    Parameters
    ----------
    distances : float32, shape (k,)
        Distances of the documents in the order of their ids, so that ids break ties.
    left_out : int64
        Rows to leave out of the ranking, which are the references themselves.
    """
    order = np.argsort(distances, kind="stable")
    return order[~np.isin(order, left_out)]


@dataclass(frozen=True, eq=False)
class _Squares:
    """‖a − b‖² of all pairs, and the norm and sum of each row; all float64."""

    squares: NDArray[np.float64]
    norm_a: NDArray[np.float64]
    norm_b: NDArray[np.float64]
    sum_a: NDArray[np.float64]
    sum_b: NDArray[np.float64]
    dims: int

    @classmethod
    def of(cls, a: NDArray[np.float64], b: NDArray[np.float64]) -> "_Squares":
        a2, b2 = np.einsum("ij,ij->i", a, a)[:, np.newaxis], np.einsum("ij,ij->i", b, b)[np.newaxis, :]
        total = a2 + b2
        squares = total - 2.0 * (a @ b.T)
        squares[squares <= _EQUAL * total] = 0.0
        return cls(
            squares, np.sqrt(a2), np.sqrt(b2), a.sum(axis=1)[:, np.newaxis], b.sum(axis=1)[np.newaxis, :], a.shape[1]
        )


def _euclidean(pairs: _Squares) -> NDArray[np.float64]:
    return np.sqrt(pairs.squares)


def _cosine(pairs: _Squares) -> NDArray[np.float64]:
    values = (pairs.squares - (pairs.norm_a - pairs.norm_b) ** 2) / (2.0 * pairs.norm_a * pairs.norm_b)
    values[values <= _EQUAL] = 0.0
    return np.asarray(values)


def _modified(pairs: _Squares) -> NDArray[np.float64] | None:
    spread_a = pairs.norm_a**2 - pairs.sum_a**2 / pairs.dims
    spread_b = pairs.norm_b**2 - pairs.sum_b**2 / pairs.dims
    for norm, total, spread in (
        (pairs.norm_a, pairs.sum_a, spread_a),
        (pairs.norm_b, pairs.sum_b, spread_b),
    ):
        if (np.abs(total) < _LEAST_SUM * norm).any() or (spread < _LEAST_SPREAD * norm**2).any():
            return None
    t1 = pairs.squares / np.abs(pairs.sum_a * pairs.sum_b)
    t2 = _cosine(pairs)
    centred = np.maximum(pairs.squares - (pairs.sum_a - pairs.sum_b) ** 2 / pairs.dims, 0.0)
    t3 = centred / (2.0 * (spread_a + spread_b))
    return np.asarray(t1**2 + t2**2 + t3**2)


_FORMS: dict[str, Callable[[_Squares], NDArray[np.float64] | None]] = {
    "cosine": _cosine,
    "euclidean": _euclidean,
    "modified": _modified,
}
