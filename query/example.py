"""The vectors that a query compares pictures with: references, how to combine them, and rejected pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from simquery.distances import EPSILON, Distance, Vectors
from simquery.errors import QueryError

__all__ = ["MAX_VECTORS", "Combine", "Example"]

MAX_VECTORS = 64
"""Most vectors in one query: each has its own place in the script, and Elasticsearch limits the size of a script."""

PUSH = """
double push(double d, double rejected) {
  return d * Math.sqrt(d / Math.max(rejected, params_epsilon));
}
""".replace("params_epsilon", repr(EPSILON))


class Combine(StrEnum):
    """How to combine the distances to several references."""

    SUM = "sum"
    """Their sum (thesis, section 4.1.3)."""
    MEAN = "mean"
    MIN = "min"
    """The smallest: the picture resembles any one of the references."""
    MAX = "max"
    """The largest: the picture resembles all of the references."""
    FEATURES = "features"
    """One distance, to the mean of the references' features (thesis, future work)."""


@dataclass(frozen=True, eq=False)
class Example:
    """The vectors that a query compares pictures with.

    Attributes
    ----------
    groups
        One float32 array (variants, dims) for each reference. The nearest variant counts.
    rejected
        float32 (r, dims): pictures that a hit should not look like.
    combine
        How to combine the references.
    """

    groups: tuple[NDArray[np.float32], ...]
    rejected: NDArray[np.float32]
    combine: Combine = Combine.SUM

    @classmethod
    def of(
        cls,
        references: Sequence[NDArray[np.float32]],
        rejected: Sequence[NDArray[np.float32]] = (),
        combine: Combine = Combine.SUM,
    ) -> "Example":
        """Make an example of references, each an array (variants, dims); rejected ones count with all their variants.

        Raises
        ------
        QueryError
            When there is no reference, or there are more vectors than a script can hold.
        """
        if not references:
            raise QueryError("A query needs at least one reference.")
        groups = tuple(references)
        if combine is Combine.FEATURES:
            if len({len(group) for group in groups}) > 1:
                raise QueryError("The features cannot be averaged: the network finds none in some of the variants.")
            groups = (np.mean([group.astype(np.float64) for group in groups], axis=0).astype(np.float32),)
        none = np.empty((0, groups[0].shape[1]), np.float32)
        example = cls(groups, np.concatenate([none, *rejected]), combine)
        if len(example.vectors) > MAX_VECTORS:
            raise QueryError(
                f"{len(example.vectors)} vectors (references and their variants) are too many for one query: use"
                f" at most {MAX_VECTORS}, or any number of references with --combine features."
            )
        return example

    @property
    def wanted(self) -> NDArray[np.float32]:
        """All vectors of the references: float32 (w, dims)."""
        return np.concatenate(self.groups)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All vectors in the order in which the script numbers them, the rejected ones last: float32 (v, dims)."""
        return np.concatenate([*self.groups, self.rejected])

    def expression(self, distance: Distance) -> str:
        """Return the Painless expression for a document's distance; it needs the distance's functions and `PUSH`."""
        calls = iter([distance.call(i) for i in range(len(self.vectors))])
        nearest = [_nested("Math.min", [next(calls) for _ in group]) for group in self.groups]
        combined = _combined(self.combine, nearest)
        return f"push({combined}, {_nested('Math.min', list(calls))})" if len(self.rejected) else combined

    def distances(self, distance: Distance, documents: Vectors) -> NDArray[np.float64]:
        """Compute the same distances in NumPy: from documents (n, dims) to float64 (n,)."""
        nearest = np.stack([distance.between(group, documents).min(axis=0) for group in self.groups])
        combined = _REDUCTIONS[self.combine].reduce(nearest, axis=0)
        if self.combine is Combine.MEAN:
            combined = combined / len(nearest)
        if not len(self.rejected):
            return np.asarray(combined)
        rejected = distance.between(self.rejected, documents).min(axis=0)
        return np.asarray(combined * np.sqrt(combined / np.maximum(rejected, EPSILON)))


_REDUCTIONS: dict[Combine, np.ufunc] = {
    Combine.SUM: np.add,
    Combine.MEAN: np.add,
    Combine.MIN: np.minimum,
    Combine.MAX: np.maximum,
    Combine.FEATURES: np.add,  # of one group
}


def _combined(combine: Combine, distances: Sequence[str]) -> str:
    if combine is Combine.MIN:
        return _nested("Math.min", distances)
    if combine is Combine.MAX:
        return _nested("Math.max", distances)
    total = f"({' + '.join(distances)})"
    return f"{total} / {len(distances)}.0" if combine is Combine.MEAN else total


def _nested(function: str, expressions: Sequence[str]) -> str:
    return reduce(lambda left, right: f"{function}({left}, {right})", expressions)
