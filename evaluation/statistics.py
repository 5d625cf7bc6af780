"""How sure the figures are: confidence intervals, paired tests, and what they mean in words.

The references of one class are not independent of each other: whole classes are resampled and whole classes change
sides, so that the answer is about other classes too, not only about other pictures of these. With one reference for
each class that is the plain bootstrap and the plain randomisation test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "compare", "conclusion", "confidence_interval"]

_RESAMPLES = 10_000
_FLIPS = 20_000
_BLOCK = 2_000
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two candidates on the same references: ``difference`` is mean(first) − mean(second), ``p`` is Holm's."""

    first: str
    second: str
    difference: float
    p: float


def confidence_interval(
    values: NDArray[np.float64], groups: Sequence[str], seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979), whole groups resampled.

    Parameters
    ----------
    values : float64, shape (n,)
        One for each reference; NaN: takes no part.
    groups
        Class of each reference.
    seed
        Of the resampling.
    level
        Confidence, for example 0.95.
    """
    sums, counts = _by_group(values[:, np.newaxis], groups)
    drawn = _resamples(len(counts), seed)
    means = (drawn @ sums[:, 0]) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(candidates: Mapping[str, NDArray[np.float64]], groups: Sequence[str], seed: int) -> list[Comparison]:
    """Compare all pairs of candidates by the two-sided paired randomisation test (Fisher), corrected as Holm (1979).

    Smucker, Allan and Carterette (2007) found this test the fit one for measures of rankings; it assumes no
    distribution. The smallest p-value it can give before correction is 1 / 20,001.

    Parameters
    ----------
    candidates
        Values of a measure by name, each float64 (n,), all on the same n references.
    groups
        Class of each reference.
    seed
        Of the random sides.
    """
    pairs = list(combinations(candidates, 2))
    if not pairs:
        return []
    differences = np.stack([candidates[a] - candidates[b] for a, b in pairs], axis=1)
    sums, counts = _by_group(differences, groups)
    observed = sums.sum(axis=0) / counts.sum()
    least = np.abs(sums.sum(axis=0)) * (1 - 1e-12)
    random = np.random.default_rng(seed)
    extreme = np.zeros(len(pairs))
    for _ in range(_FLIPS // _BLOCK):
        sides = random.integers(0, 2, (_BLOCK, len(counts))) * 2.0 - 1.0
        extreme += (np.abs(sides @ sums) >= least).sum(axis=0)
    corrected = _holm((1 + extreme) / (1 + _FLIPS))
    return [
        Comparison(a, b, float(difference), float(p))
        for (a, b), difference, p in zip(pairs, observed, corrected, strict=True)
    ]


def conclusion(
    candidates: Mapping[str, NDArray[np.float64]],
    comparisons: Sequence[Comparison],
    *,
    measure: str,
    higher_is_better: bool,
) -> list[str]:
    """What the comparisons mean in sentences: the means from best to worst, who beats whom, who is not told apart."""
    means = {name: float(np.nanmean(values)) for name, values in candidates.items()}
    order = sorted(means, key=lambda name: -means[name] if higher_is_better else means[name])
    better = "higher" if higher_is_better else "lower"
    sentences = [
        f"Mean {measure} ({better} is better): " + ", ".join(f"{name} {means[name]:.4f}" for name in order) + "."
    ]
    p = {frozenset((each.first, each.second)): each.p for each in comparisons}
    for place, name in enumerate(order):
        beaten = [other for other in order[place + 1 :] if p[frozenset((name, other))] < _LEVEL]
        if beaten:
            largest = max(p[frozenset((name, other))] for other in beaten)
            sentences.append(f"{name} beats {_listed(beaten)} ({_limit(largest)}).")
    for a, b in combinations(order, 2):
        if p[frozenset((a, b))] >= _LEVEL:
            sentences.append(
                f"{a} and {b} do not differ by what these references can show (p = {p[frozenset((a, b))]:.2f})."
            )
    return sentences


@lru_cache(maxsize=4)
def _resamples(groups: int, seed: int) -> NDArray[np.float64]:
    """How often each group is drawn in each resample: (resamples, groups); the same for every measure of a run."""
    picks = np.random.default_rng(seed).integers(0, groups, (_RESAMPLES, groups))
    drawn = np.zeros((_RESAMPLES, groups))
    np.add.at(drawn, (np.arange(_RESAMPLES)[:, np.newaxis], picks), 1.0)
    return drawn


def _by_group(values: NDArray[np.float64], groups: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums (groups, columns) and counts (groups,) over the rows that have all values."""
    there = np.isfinite(values).all(axis=1)
    if not there.any():
        raise ValueError("no values to judge by")
    names, number = np.unique(np.asarray(groups)[there], return_inverse=True)
    if len(names) == 1:  # of one class alone there is nothing to resample but its references
        number = np.arange(int(there.sum()))
    sums = np.zeros((number.max() + 1, values.shape[1]))
    np.add.at(sums, number, values[there])
    return sums, np.bincount(number).astype(np.float64)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _limit(p: float) -> str:
    return next((f"p < {limit:g}" for limit in (0.001, 0.01, 0.05) if p < limit), f"p = {p:.2f}")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
