"""Recall at k."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simquery.evaluation.measures.measure import FirstPictures, Found

__all__ = ["Recall"]


@dataclass(frozen=True)
class Recall(FirstPictures):
    """``R@k``: share of the relevant pictures that are among the first k; if k < R, at most k / R."""

    symbol: ClassVar[str] = "R"

    def of(self, found: Found) -> float:
        """Return the value for one ranking, 0 to 1."""
        return float(np.searchsorted(found.ranks, self.k, side="right")) / found.relevant
