"""Statistics: confidence intervals, paired tests, and their results in words.

References of one class are not independent of each other. Therefore SciPy's bootstrap draws whole classes, and its
permutation test swaps the sides of whole classes (docs/adr/0016). With one reference for each class, these are the
plain bootstrap and the plain randomisation test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

__all__ = ["Comparison", "compare", "conclusion", "confidence_intervals"]

_RESAMPLES = 10_000
_PERMUTATIONS = 20_000
_BATCH = 1_000
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A comparison of two candidates on the same references.

    ``difference`` is mean(first) − mean(second), and ``p`` the p-value corrected by Holm's method.
    """

    first: str
    second: str
    difference: float
    p: float


def confidence_intervals(
    values: NDArray[np.float64], groups: Sequence[str], seed: int, level: float = 0.95
) -> list[tuple[float, float]]:
    """Return percentile bootstrap intervals of means (Efron 1979), resampling whole groups.

    Parameters
    ----------
    values : float64, shape (n, columns)
        One row for each reference; rows with NaN are ignored.
    groups
        Class of each reference.
    seed
        Random seed of the resampling.
    level
        Confidence, for example 0.95.

    Returns
    -------
    list of (float, float)
        Lower and upper bound for each column.
    """
    sums, counts = _by_group(values, groups)
    if len(counts) == 1:  # nothing to resample: SciPy refuses a single observation
        return [(mean, mean) for mean in (sums[0] / counts[0]).tolist()]

    def means(drawn: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        return np.asarray(sums.T[:, drawn].sum(axis) / counts[drawn].sum(axis))

    interval = bootstrap(
        (np.arange(len(counts)),),
        means,
        n_resamples=_RESAMPLES,
        confidence_level=level,
        method="percentile",
        batch=_BATCH,
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    low, high = np.asarray(interval.low), np.asarray(interval.high)
    return [(float(low[column]), float(high[column])) for column in range(sums.shape[1])]


def compare(candidates: Mapping[str, NDArray[np.float64]], groups: Sequence[str], seed: int) -> list[Comparison]:
    """Compare all pairs of candidates by the two-sided paired randomisation test (Fisher), corrected as in Holm (1979).

    Smucker, Allan and Carterette (2007) recommend this test for measures of rankings; it assumes no distribution.
    With few classes, SciPy tries every assignment of sides, otherwise 20,000 random ones, so that the smallest p-value
    before correction is 1 / 20,001.

    Parameters
    ----------
    candidates
        Values of a measure by name, each float64 (n,), all on the same n references.
    groups
        Class of each reference.
    seed
        Random seed of the assignments.
    """
    pairs = list(combinations(candidates, 2))
    if not pairs:
        return []
    sums, counts = _by_group(np.stack([candidates[a] - candidates[b] for a, b in pairs], axis=1), groups)

    def size(differences: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(np.abs(differences.sum(axis)))

    if len(counts) == 1:  # SciPy refuses a single observation, which cannot show a difference anyway
        return [Comparison(a, b, float(total / counts[0]), 1.0) for (a, b), total in zip(pairs, sums[0], strict=True)]
    p = permutation_test(
        (sums.T,),
        size,
        permutation_type="samples",  # of one sample: the sign of each class's sum
        alternative="greater",
        n_resamples=_PERMUTATIONS,
        vectorized=True,
        batch=_BATCH,
        axis=-1,
        rng=np.random.default_rng(seed),
    ).pvalue
    means = sums.sum(axis=0) / counts.sum()
    return [
        Comparison(a, b, float(mean), float(corrected))
        for (a, b), mean, corrected in zip(pairs, means, _holm(p), strict=True)
    ]


def conclusion(
    candidates: Mapping[str, NDArray[np.float64]],
    comparisons: Sequence[Comparison],
    *,
    measure: str,
    higher_is_better: bool,
) -> list[str]:
    """Return the results in sentences: the means from best to worst, which beats which, and which do not differ."""
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
                f"These references show no difference between {a} and {b} (p = {p[frozenset((a, b))]:.2f})."
            )
    return sentences


def _by_group(values: NDArray[np.float64], groups: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums (groups, columns) and counts (groups,) over the rows that have all values."""
    there = np.isfinite(values).all(axis=1)
    if not there.any():
        raise ValueError("no values to judge by")
    names, number = np.unique(np.asarray(groups)[there], return_inverse=True)
    if len(names) == 1:  # a single class: only its references can be resampled
        number = np.arange(int(there.sum()))
    sums = np.zeros((number.max() + 1, values.shape[1]))
    np.add.at(sums, number, values[there])
    return sums, np.bincount(number).astype(np.float64)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    # SciPy only has corrections for the false discovery rate.
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _limit(p: float) -> str:
    return next((f"p < {limit:g}" for limit in (0.001, 0.01, 0.05) if p < limit), f"p = {p:.2f}")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
