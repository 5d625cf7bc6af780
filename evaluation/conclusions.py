"""Conclusions in words, based on tests: which distance and which network to use."""

from dataclasses import dataclass

import numpy as np

from simquery.evaluation.harness import Results
from simquery.evaluation.measures import Measure, parse_measure
from simquery.evaluation.statistics import Comparison, compare, conclusion

__all__ = ["Conclusion", "main_measure", "reach_conclusions"]


@dataclass(frozen=True)
class Conclusion:
    """A conclusion: a title, sentences, and the comparisons on which they are based."""

    title: str
    sentences: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def main_measure(results: Results) -> Measure:
    """Return the measure to compare combinations by: nAUIRC if it was requested, otherwise the first one."""
    area = parse_measure("nAUIRC")
    return area if area in results.measures else results.measures[0]


def reach_conclusions(results: Results, seed: int) -> list[Conclusion]:
    """Compare the distances (each averaged over the networks), then the networks (each averaged over the distances).

    Nothing is compared if there is only one network or distance, or if the candidates have no references in common.
    """
    measure = main_measure(results)
    groups = [query.label for query in results.queries]
    found = []
    for kind, other in (("distance", "model"), ("model", "distance")):
        candidates = {}
        for name in dict.fromkeys(getattr(condition, kind) for condition in results.singles):
            conditions = [condition for condition in results.singles if getattr(condition, kind) == name]
            candidates[name] = np.mean([results.of(condition, measure) for condition in conditions], axis=0)
        together = np.isfinite(np.array(list(candidates.values()))).all(axis=0)
        if len(candidates) < 2 or not together.any():  # noqa: PLR2004
            continue
        others = len({getattr(condition, other) for condition in results.singles})
        plural = {"model": "networks", "distance": "distances"}
        comparisons = compare(candidates, groups, seed)
        sentences = conclusion(candidates, comparisons, measure=str(measure), higher_is_better=measure.higher_is_better)
        title = f"{plural[kind].capitalize()}, over {others} {plural[other] if others > 1 else other}"
        found.append(Conclusion(title, tuple(sentences), tuple(comparisons)))
    return found
