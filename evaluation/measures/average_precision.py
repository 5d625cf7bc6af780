"""Average precision; its mean over references is the field's mAP."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simquery.evaluation.measures.measure import Found, WholeRanking

__all__ = ["AveragePrecision"]


@dataclass(frozen=True)
class AveragePrecision(WholeRanking):
    """``AP``: mean over the relevant pictures of the precision at their ranks, ``Σ (i / rᵢ) / R``; not found: 0."""

    symbol: ClassVar[str] = "AP"

    def of(self, found: Found) -> float:
        """Value for one ranking, 0 to 1."""
        return float((np.arange(1, len(found.ranks) + 1) / found.ranks).sum()) / found.relevant
