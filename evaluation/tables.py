"""Results as rows of tables: a summary of all conditions, and each class with its best combinations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simquery.evaluation.harness import Condition, Results
from simquery.evaluation.measures import Measure
from simquery.evaluation.statistics import confidence_intervals

__all__ = ["TOLERANCE", "ClassRow", "Summary", "class_measures", "class_table", "combined", "number", "summarise"]

TOLERANCE = 0.003
"""Combinations whose value is this close to the best also count as best (thesis, tables 4.1 to 4.4)."""


@dataclass(frozen=True)
class Summary:
    """A measure under a condition, over all references.

    ``low`` and ``high`` are the bounds of the 95 % confidence interval of the mean; ``best`` is the mean of the perfect
    rankings.
    """

    condition: Condition
    measure: str
    mean: float
    deviation: float
    low: float
    high: float
    best: float
    references: int


@dataclass(frozen=True)
class ClassRow:
    """A class under a measure: its best value, the last one within `TOLERANCE`, and the combinations between them."""

    label: str
    measure: str
    best: float
    last: float
    combinations: tuple[tuple[str, str], ...]


def number(value: float) -> str:
    """Return the text of a value: four decimals, or none for large values, which are numbers of pictures."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004


def summarise(results: Results, seed: int, conditions: Sequence[Condition] | None = None) -> list[Summary]:
    """Return mean, standard deviation and confidence interval of every measure under every condition."""
    groups = [query.label for query in results.queries]
    rows = []
    for condition in results.values if conditions is None else conditions:
        there = np.isfinite(results.values[condition]).all(axis=1)
        values = results.values[condition][there]
        best = results.best[condition][there].mean(axis=0)
        deviations = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(best))
        intervals = confidence_intervals(values, [groups[row] for row in np.flatnonzero(there)], seed)
        rows += [
            Summary(condition, str(measure), float(mean), float(deviation), low, high, float(ideal), len(values))
            for measure, mean, deviation, (low, high), ideal in zip(
                results.measures, values.mean(axis=0), deviations, intervals, best, strict=True
            )
        ]
    return rows


def combined(row: ClassRow) -> str:
    """Return the networks with their distances as text, as in tables 4.1 to 4.4 of the thesis."""
    networks: dict[str, list[str]] = {}
    for model, distance in row.combinations:
        networks.setdefault(model, []).append(distance)
    return "; ".join(f"{model}: {', '.join(distances)}" for model, distances in networks.items())


def class_measures(measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures by which to list classes, as in the thesis: the first precision, the last inverse recall."""
    precisions = [measure for measure in measures if measure.symbol == "P"]
    inverse_recalls = [measure for measure in measures if measure.symbol == "IR"]
    return [*precisions[:1], *inverse_recalls[-1:]]


def class_table(results: Results, measure: Measure) -> list[ClassRow]:
    """Return every class with its best combinations of network and distance, beginning with the best class.

    The value of a class is the mean over its references. All combinations within `TOLERANCE` of the best are listed.
    """
    labels = np.array([query.label for query in results.queries])
    sign = -1.0 if measure.higher_is_better else 1.0
    rows = []
    for label in dict.fromkeys(labels.tolist()):
        values = {each: results.of(each, measure)[labels == label] for each in results.singles}
        means = {each: float(np.nanmean(found)) for each, found in values.items() if np.isfinite(found).any()}
        best = min(means.values(), key=lambda value: sign * value)
        near = [each for each, mean in means.items() if abs(mean - best) <= TOLERANCE]
        last = max((means[each] for each in near), key=lambda value: sign * value)
        rows.append(ClassRow(label, str(measure), best, last, tuple((each.model, each.distance) for each in near)))
    return sorted(rows, key=lambda row: (sign * row.best, row.label))
