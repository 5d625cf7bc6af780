"""Inverse recall at q (thesis, section 3.4.2)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Self

from simquery.evaluation.measures.measure import Found, Measure, share_cutoff, share_of

__all__ = ["InverseRecall"]


@dataclass(frozen=True)
class InverseRecall(Measure):
    """``IR@q``: share of the pictures to look at until ⌈q·R⌉ relevant ones are found. Lower is better.

    ``q`` is an exact fraction: ⌈0.07 · 100⌉ is 7, whereas floating point would give 8.
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
        """Parse ``q``, in (0, 1]."""
        return cls(share_cutoff(cls.symbol, cutoff, "0.8"))

    def of(self, found: Found) -> float:
        """Return the value for one ranking, above 0 and up to 1."""
        return found.rank_of_share(self.q) / found.total
