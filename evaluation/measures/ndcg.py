"""Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002)."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from simquery.evaluation.measures.measure import Found, Measure, count_cutoff

__all__ = ["NDCG"]


@dataclass(frozen=True)
class NDCG(Measure):
    """``nDCG``, ``nDCG@k``: sum of 1 / log₂(1 + rank) of the relevant pictures, relative to the best ranking."""

    k: int | None = None
    symbol: ClassVar[str] = "nDCG"

    @property
    def name(self) -> str:
        """``nDCG`` or ``nDCG@k``."""
        return self.symbol if self.k is None else f"{self.symbol}@{self.k}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Parse ``k``, if it is given."""
        return cls() if cutoff is None else cls(count_cutoff(cls.symbol, cutoff))

    def of(self, found: Found) -> float:
        """Return the value for one ranking, 0 to 1."""
        k = self.k or found.total
        ideal = np.arange(1, min(found.relevant, k) + 1)
        return _gain(found.ranks[found.ranks <= k]) / _gain(ideal)


def _gain(ranks: NDArray[np.int64]) -> float:
    return float((1.0 / np.log2(1.0 + ranks)).sum())
