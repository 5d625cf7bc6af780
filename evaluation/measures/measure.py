"""Base class of measures: a measure has a name, and computes a number from the ranks of the relevant pictures alone."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from simquery.errors import SettingsError

__all__ = ["FirstPictures", "Found", "Measure", "WholeRanking", "count_cutoff", "share_cutoff", "share_of"]


@dataclass(frozen=True, eq=False)
class Found:
    """Ranks of the relevant pictures in one ranking, which does not contain the reference itself.

    Attributes
    ----------
    ranks : int64, shape (f,)
        Ranks of the relevant pictures in the ranking, ascending, from 1.
    relevant : int
        R, the number of relevant pictures, at least 1. A ranking by another tool may contain fewer (f < R).
    total : int
        N, the number of pictures to rank.
    """

    ranks: NDArray[np.int64]
    relevant: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.relevant <= self.total or len(self.ranks) > self.relevant:
            raise ValueError(f"{len(self.ranks)} of {self.relevant} relevant among {self.total} pictures")

    def all_ranks(self) -> NDArray[np.int64]:
        """Return the ranks of all R relevant pictures; those missing from the ranking come last of all N."""
        missing = self.relevant - len(self.ranks)
        return np.concatenate([self.ranks, np.arange(self.total - missing + 1, self.total + 1)])

    def rank_of_share(self, share: Fraction) -> int:
        """Return the rank at which ⌈share · R⌉ relevant pictures have been passed, in exact arithmetic."""
        return int(self.all_ranks()[math.ceil(share * self.relevant) - 1])


class Measure(ABC):
    """A measure of rankings, which is parsed from its name and prints as its name: ``P@50``, ``IR@0.8``, ``AUIRC``."""

    symbol: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """``symbol``, or ``symbol@cutoff``."""

    @classmethod
    @abstractmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Make the measure from the text after the ``@``, or from None if there is no ``@``.

        Raises
        ------
        SettingsError
            When the measure does not take this cutoff.
        """

    @abstractmethod
    def of(self, found: Found) -> float:
        """Return the value for one ranking."""

    def best(self, relevant: int, total: int) -> float:
        """Return the value of the perfect ranking, which has all ``relevant`` pictures first."""
        return self.of(Found(np.arange(1, relevant + 1), relevant, total))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FirstPictures(Measure):
    """A measure of the first k pictures: ``symbol@k``."""

    k: int

    @property
    def name(self) -> str:
        """``symbol@k``."""
        return f"{self.symbol}@{self.k}"

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Parse ``k``."""
        return cls(count_cutoff(cls.symbol, cutoff))


@dataclass(frozen=True)
class WholeRanking(Measure):
    """A measure without a cutoff: ``symbol``."""

    @property
    def name(self) -> str:
        """``symbol``."""
        return self.symbol

    @classmethod
    def parse(cls, cutoff: str | None) -> Self:
        """Make the measure, which takes no cutoff."""
        if cutoff is not None:
            raise SettingsError(f"'{_written(cls.symbol, cutoff)}' is not a measure: {cls.symbol} takes no cutoff.")
        return cls()


def count_cutoff(symbol: str, cutoff: str | None) -> int:
    """Parse ``k``, a number of pictures."""
    if cutoff is None or not cutoff.isascii() or not cutoff.isdigit() or int(cutoff) < 1:
        raise SettingsError(
            f"'{_written(symbol, cutoff)}' is not a measure: give a whole number from 1, as in {symbol}@50."
        )
    return int(cutoff)


def share_cutoff(symbol: str, cutoff: str | None, example: str, whole: int = 1) -> Fraction:
    """Parse ``q``, a share above 0 and up to ``whole`` (1, or 100 for percent), exactly: 0.8 is 4/5."""
    try:
        share = Fraction(Decimal(cutoff or "")) / whole
    except (ArithmeticError, ValueError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise SettingsError(
            f"'{_written(symbol, cutoff)}' is not a measure: give a number above 0 and up to {whole}, as in"
            f" {symbol}@{example}."
        )
    return share


def share_of(share: Fraction) -> str:
    """Return the decimal text of a share: 0.8 for 4/5."""
    return f"{(Decimal(share.numerator) / Decimal(share.denominator)).normalize():f}"


def _written(symbol: str, cutoff: str | None) -> str:
    return symbol if cutoff is None else f"{symbol}@{cutoff}"
