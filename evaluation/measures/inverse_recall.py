"""Inverse recall at q (thesis, section 3.4.2)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Self

from simquery.evaluation.measures.measure import Found, Measure, share_cutoff, share_of

__all__ = ["InverseRecall"]


@dataclass(frozen=True)
class InverseRecall(Measure):
    """``IR@q``: share of the pictures that have to be looked at until ⌈q·R⌉ relevant ones are found. Lower is better.

    ``q`` is kept as an exact fraction: 0.07 · 100 is 7, not the 8 that floating point makes of it.
    """

    q: Fraction
    symbol: ClassVar[str] = "IR"
    higher_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """``IR@q``."""
        return f"{self.symbol}@{share_of(self.q)}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Read ``q``, in (0, 1]."""
        return cls(share_cutoff(cls.symbol, cutoff, "0.8"))

    def of(self, found: Found) -> float:
        """Value for one ranking, above 0 and up to 1."""
        return found.rank_of_share(self.q) / found.total
