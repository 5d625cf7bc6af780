"""Work saved over sampling (Cohen et al. 2006, "Reducing workload in systematic review preparation")."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Self

from simquery.evaluation.measures.measure import Found, Measure, share_cutoff, share_of

__all__ = ["WorkSaved"]


@dataclass(frozen=True)
class WorkSaved(Measure):
    """``WSS@95``: share of looking that the ranking saves at 95 % recall, compared with a random order.

    ``WSS@p = p/100 − IR@(p/100)``: 0 for a random order, negative for a ranking that is worse.
    """

    share: Fraction
    symbol: ClassVar[str] = "WSS"

    @property
    def name(self) -> str:
        """``WSS@percent``."""
        return f"{self.symbol}@{share_of(self.share * 100)}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Parse the percentage, in (0, 100]."""
        return cls(share_cutoff(cls.symbol, cutoff, "95", whole=100))

    def of(self, found: Found) -> float:
        """Return the value for one ranking, below ``share``."""
        return float(self.share) - found.rank_of_share(self.share) / found.total
