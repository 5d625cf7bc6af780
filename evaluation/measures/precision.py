"""Precision at k (thesis, section 3.4.1)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simquery.evaluation.measures.measure import FirstPictures, Found

__all__ = ["Precision"]


@dataclass(frozen=True)
class Precision(FirstPictures):
    """``P@k``: share of relevant pictures among the first k.

    The divisor is always k, as in trec_eval: if k > R, even the perfect ranking gets R / k (see `best`).
    """

    symbol: ClassVar[str] = "P"

    def of(self, found: Found) -> float:
        """Return the value for one ranking, 0 to 1."""
        return float(np.searchsorted(found.ranks, self.k, side="right")) / self.k
