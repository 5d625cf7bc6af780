"""Measures of rankings, one per file. A measure is parsed from its name, and prints as its name."""

from collections.abc import Iterable

from simquery.errors import SettingsError
from simquery.evaluation.measures.area import Area, NormalisedArea
from simquery.evaluation.measures.average_precision import AveragePrecision
from simquery.evaluation.measures.inverse_recall import InverseRecall
from simquery.evaluation.measures.measure import Found, Measure
from simquery.evaluation.measures.ndcg import NDCG
from simquery.evaluation.measures.precision import Precision
from simquery.evaluation.measures.recall import Recall
from simquery.evaluation.measures.work_saved import WorkSaved

__all__ = ["DEFAULT_MEASURES", "MEASURES", "Found", "Measure", "parse_measure", "parse_measures"]

MEASURES: dict[str, type[Measure]] = {
    measure.symbol: measure
    for measure in (Precision, InverseRecall, Area, NormalisedArea, AveragePrecision, NDCG, Recall, WorkSaved)
}
"""Every kind of measure by its symbol."""


def parse_measure(name: str) -> Measure:
    """Return the measure with a name such as ``P@50``, ``IR@0.8`` or ``AUIRC``.

    Raises
    ------
    SettingsError
        When there is no such measure, or it does not take that cutoff.
    """
    symbol, at, cutoff = name.partition("@")
    if symbol not in MEASURES:
        raise SettingsError(
            f"There is no measure '{name}'. Choose from: {', '.join(MEASURES)}; for example P@50, IR@0.8."
        )
    return MEASURES[symbol].parse(cutoff if at else None)


def parse_measures(names: Iterable[str]) -> tuple[Measure, ...]:
    """Return the measures with several names, in their order and without duplicates."""
    return tuple(dict.fromkeys(parse_measure(name) for name in names))


DEFAULT_MEASURES = parse_measures(
    ("P@50", "P@100", "IR@0.5", "IR@0.8", "AUIRC", "nAUIRC", "AP", "nDCG", "R@100", "WSS@95")
)
"""The measures of the thesis, and common ones for comparison with other work."""
