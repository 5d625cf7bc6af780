"""Precision at k (thesis, section 3.4.1)."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from simquery.evaluation.measures.measure import Found, Measure, count_cutoff

__all__ = ["Precision"]


@dataclass(frozen=True)
class Precision(Measure):
    """``P@k``: share of relevant pictures among the first k.

    Divided by k always, as trec_eval does: with k > R even the perfect ranking gets R / k, which `best` says.
    """

    k: int
    symbol: ClassVar[str] = "P"

    @property
    def name(self) -> str:
        """``P@k``."""
        return f"{self.symbol}@{self.k}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Read ``k``."""
        return cls(count_cutoff(cls.symbol, cutoff))

    def of(self, found: Found) -> float:
        """Value for one ranking, 0 to 1."""
        return float(np.searchsorted(found.ranks, self.k, side="right")) / self.k
