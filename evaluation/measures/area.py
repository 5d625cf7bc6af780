"""Area under the inverse recall curve (thesis, section 3.4.3)."""

from dataclasses import dataclass
from typing import ClassVar

from simquery.evaluation.measures.measure import Found, WholeRanking

__all__ = ["Area", "NormalisedArea"]


@dataclass(frozen=True)
class Area(WholeRanking):
    """``AUIRC``: area under the curve of pictures passed (y) over relevant pictures found (x). Lower is better.

    The trapezoid rule through (0, 0), (1, r₁), …, (R, r_R), where rᵢ is the rank of the i-th relevant picture, gives
    ``Σ rᵢ − r_R / 2``. The best possible value is R² / 2.
    """

    symbol: ClassVar[str] = "AUIRC"
    higher_is_better: ClassVar[bool] = False

    def of(self, found: Found) -> float:
        """Return the value for one ranking, in pictures × pictures."""
        ranks = found.all_ranks()
        return float(ranks.sum()) - float(ranks[-1]) / 2


@dataclass(frozen=True)
class NormalisedArea(Area):
    """``nAUIRC``: AUIRC divided by R·N, so that classes and data sets can be compared. Lower is better.

    The best possible value is R / 2N; a random ranking gets about 0.5.
    """

    symbol: ClassVar[str] = "nAUIRC"

    def of(self, found: Found) -> float:
        """Return the value for one ranking, above 0 and below 1."""
        return super().of(found) / (found.relevant * found.total)
