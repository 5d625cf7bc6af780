"""Average precision; its mean over references is known as mAP."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simquery.evaluation.measures.measure import Found, WholeRanking

__all__ = ["AveragePrecision"]


@dataclass(frozen=True)
class AveragePrecision(WholeRanking):
    """``AP``: mean precision at the ranks of the relevant pictures, ``Σ (i / rᵢ) / R``; those not found add 0."""

    symbol: ClassVar[str] = "AP"

    def of(self, found: Found) -> float:
        """Return the value for one ranking, 0 to 1."""
        return float((np.arange(1, len(found.ranks) + 1) / found.ranks).sum()) / found.relevant
