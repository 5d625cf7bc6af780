"""The protocol: rank every network × distance × reference, and judge it by every measure (thesis, chapter 4)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simquery.distances import Distance
from simquery.embedders import Features
from simquery.errors import SettingsError
from simquery.evaluation.dataset import Dataset
from simquery.evaluation.measures import Found, Measure
from simquery.evaluation.measures.measure import FirstPictures
from simquery.evaluation.rankings import distances_to, order_of
from simquery.evaluation.topics import Topic

__all__ = [
    "CURVE",
    "NEAREST",
    "Condition",
    "Judge",
    "Ranked",
    "Results",
    "check_measures",
    "first_pictures",
    "rank_all",
]

CURVE = np.linspace(0.01, 1.0, 100)
"""Shares of the relevant pictures at which inverse recall curves are sampled."""

NEAREST = 10
"""Number of first hits of each reference among which the confusion of classes is counted."""


@dataclass(frozen=True, order=True)
class Condition:
    """How a ranking was made.

    Attributes
    ----------
    model, distance
        Names of the network and the distance.
    references
        Number of references that the query combines; 0: one reference, and no other picture is left out of the ranking.
    combine
        ``sum`` of the distances, ``mean`` of the features; ``none`` with a single reference.
    augment
        Change to the reference: one of `simquery.pictures.augmentation.AUGMENTATIONS`, or ``none``.
    """

    model: str
    distance: str
    references: int = 0
    combine: str = "none"
    augment: str = "none"

    @property
    def single(self) -> bool:
        """Whether this is the main experiment of the thesis: one plain reference."""
        return not self.references and self.augment == "none"


@dataclass(frozen=True, eq=False)
class Ranked:
    """One ranking: the condition, the reference, rows of the data set in order, and their float32 distances."""

    condition: Condition
    query: Topic
    order: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Results:
    """All values of an evaluation, and further data for the figures.

    Attributes
    ----------
    dataset, queries, measures
        The data set, the references, and the measures.
    values
        float64 (queries, measures) by condition; NaN for queries that a condition does not apply to.
    best
        Values of the perfect rankings, in the same shape.
    curves
        For single references: share of pictures passed at each share in `CURVE` of the relevant ones, (queries, 100).
    nearest
        For single references: share of each class (column) among the first `NEAREST` hits of references of each class
        (row); NaN rows for classes without references.
    """

    dataset: Dataset
    queries: tuple[Topic, ...]
    measures: tuple[Measure, ...]
    values: Mapping[Condition, NDArray[np.float64]]
    best: Mapping[Condition, NDArray[np.float64]]
    curves: Mapping[Condition, NDArray[np.float64]] = field(default_factory=dict)
    nearest: Mapping[Condition, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def singles(self) -> list[Condition]:
        """Conditions of the main experiment, in the order in which they were tried."""
        return [condition for condition in self.values if condition.single]

    def of(self, condition: Condition, measure: Measure) -> NDArray[np.float64]:
        """Return the values of a measure for all queries, float64 (queries,)."""
        return self.values[condition][:, self.measures.index(measure)]


class Judge:
    """Judge rankings, and turn them into `Results`."""

    def __init__(self, dataset: Dataset, queries: Sequence[Topic], measures: Sequence[Measure]) -> None:
        self._dataset = dataset
        self._queries = tuple(queries)
        self._measures = tuple(measures)
        self._rows = {query: row for row, query in enumerate(self._queries)}
        self._classes = list(dataset.members)
        first = {label: number for number, label in enumerate(self._classes)}
        self._class_of = np.array([first[picture.labels[0]] for picture in dataset.pictures], dtype=np.int64)
        self._values: dict[Condition, NDArray[np.float64]] = {}
        self._best: dict[Condition, NDArray[np.float64]] = {}
        self._curves: dict[Condition, NDArray[np.float64]] = {}
        self._nearest: dict[Condition, NDArray[np.float64]] = {}

    def add(self, ranked: Ranked) -> None:
        """Judge one ranking."""
        condition, query = ranked.condition, ranked.query
        row = self._rows[query]
        found = self._found(ranked)
        shape = (len(self._queries), len(self._measures))
        values = self._values.setdefault(condition, np.full(shape, np.nan))
        values[row] = [measure.of(found) for measure in self._measures]
        best = self._best.setdefault(condition, np.full(shape, np.nan))
        best[row] = [measure.best(found.relevant, found.total) for measure in self._measures]
        if condition.single:
            curve = self._curves.setdefault(condition, np.full((len(self._queries), len(CURVE)), np.nan))
            # Slightly less than the share, so that rounding up cannot go beyond it.
            places = np.ceil(CURVE * found.relevant - 1e-9).astype(np.int64) - 1
            curve[row] = found.all_ranks()[places] / found.total
            counts = self._nearest.setdefault(condition, np.zeros((len(self._classes), len(self._classes))))
            hits = self._class_of[ranked.order[:NEAREST]]
            np.add.at(counts[self._classes.index(query.label)], hits, 1.0)

    def results(self) -> Results:
        """Return the results of all rankings judged so far."""
        nearest = {}
        for condition, counts in self._nearest.items():
            totals = counts.sum(axis=1, keepdims=True)
            nearest[condition] = np.where(totals > 0, counts / np.maximum(totals, 1.0), np.nan)
        return Results(self._dataset, self._queries, self._measures, self._values, self._best, self._curves, nearest)

    def _found(self, ranked: Ranked) -> Found:
        members = self._dataset.members[ranked.query.label]
        left_out = ranked.query.left_out(ranked.condition.references)
        ranks = np.flatnonzero(np.isin(ranked.order, members)) + 1
        relevant = len(members) - int(np.isin(left_out, members).sum())
        return Found(ranks, relevant, len(self._dataset.pictures) - len(left_out))


def first_pictures(measure: Measure) -> int:
    """Return how many of the first pictures a measure looks at; 0: the whole ranking."""
    return measure.k if isinstance(measure, FirstPictures) else 0


def check_measures(measures: Sequence[Measure], pictures: int) -> None:
    """Refuse measures that look at more pictures than a ranking has.

    Raises
    ------
    SettingsError
        The message names the measure and the number of pictures to rank.
    """
    for measure in measures:
        if (first := first_pictures(measure)) > pictures:
            raise SettingsError(
                f"{measure} needs the first {first:,} pictures of a ranking, but only {pictures:,} are ranked."
            )


def rank_all(
    model: str,
    distance: Distance,
    vectors: Features,
    queries: Sequence[Topic],
    *,
    augmented: Mapping[str, Features] | None = None,
) -> Iterator[Ranked]:
    """Yield every ranking of the protocol for one model and distance.

    Parameters
    ----------
    model
        Name of the model.
    distance
        Distance to rank by.
    vectors : float32, shape (n, dims)
        Vectors of the data set's pictures, in their order.
    queries
        The references and their companions.
    augmented
        Vectors of the augmented references, float32 (queries, dims), by the name of the augmentation; NaN: none.
    """
    condition = Condition(model, distance.name)
    rows = sorted({row for query in queries for row in (query.reference, *query.companions)})
    lines = dict(zip(rows, distances_to(distance, vectors[rows], vectors), strict=True))
    for query in queries:
        yield _ranked(condition, query, lines[query.reference])
    for name, changed in (augmented or {}).items():
        there = np.flatnonzero(np.isfinite(changed).all(axis=1)).tolist()
        for row, line in zip(there, distances_to(distance, changed[there], vectors), strict=True):
            yield _ranked(replace(condition, augment=name), queries[row], line)
    for query in queries:
        if query.companions:
            members = [query.reference, *query.companions]
            sums = np.cumsum([lines[row] for row in members], axis=0, dtype=np.float64).astype(np.float32)
            means = distances_to(distance, _running_means(vectors[members])[1:], vectors)
            for count, line in enumerate(sums, start=1):
                yield _ranked(replace(condition, references=count, combine="sum"), query, line)
            for count, line in enumerate(means, start=2):
                yield _ranked(replace(condition, references=count, combine="mean"), query, line)


def _running_means(features: Features) -> NDArray[np.float64]:
    return np.asarray(np.cumsum(features, axis=0, dtype=np.float64) / np.arange(1, len(features) + 1)[:, np.newaxis])


def _ranked(condition: Condition, query: Topic, line: NDArray[np.float32]) -> Ranked:
    order = order_of(line, query.left_out(condition.references))
    return Ranked(condition, query, order, line[order])
