"""Recall at k."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from simquery.evaluation.measures.measure import Found, Measure, count_cutoff

__all__ = ["Recall"]


@dataclass(frozen=True)
class Recall(Measure):
    """``R@k``: share of the relevant pictures that are among the first k; with k < R at most k / R."""

    k: int
    symbol: ClassVar[str] = "R"

    @property
    def name(self) -> str:
        """``R@k``."""
        return f"{self.symbol}@{self.k}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Read ``k``."""
        return cls(count_cutoff(cls.symbol, cutoff))

    def of(self, found: Found) -> float:
        """Value for one ranking, 0 to 1."""
        return float(np.searchsorted(found.ranks, self.k, side="right")) / found.relevant
