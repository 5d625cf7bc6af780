"""Recall of approximate queries: how many hits of exact queries on the same collection they return."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean, median
from typing import Any

from elasticsearch import Elasticsearch

from simquery.distances import DISTANCES, Distance
from simquery.errors import QueryError
from simquery.mappings import images_index, store_candidates
from simquery.query.ranking import Mode, Query, Ranking, Reference
from simquery.query.searcher import Searcher

__all__ = ["Approximation", "RecallReport", "measure_case", "measure_recall", "sampled_references", "sufficient"]


@dataclass(frozen=True)
class Approximation:
    """Recall and speed with one number of candidates.

    ``recall`` is the mean and ``least`` the smallest share of the exact hits that an approximate query returns, over
    all references. The times are medians over all references, from request to answer.
    """

    candidates: int
    recall: float
    least: float
    approximate_ms: float
    exact_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class RecallReport:
    """Recall and speed of approximate queries on a case.

    Attributes
    ----------
    k
        Number of hits that were compared.
    references
        Number of references.
    recall
        By the name of the distance, one `Approximation` for each number of candidates.
    chosen
        By the name of the distance, the smallest number of candidates that reaches the recall to be stored; None if no
        number does.
    """

    k: int
    references: int
    recall: Mapping[str, Sequence[Approximation]]
    chosen: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, int]:
        """Numbers of candidates that were stored with the case, by the name of the distance."""
        return {name: number for name, number in self.chosen.items() if number is not None}

    @property
    def measured(self) -> dict[str, dict[str, float]]:
        """Recall measured with the stored numbers: ``k``, ``mean`` and ``least``, by the name of the distance."""
        rows = {name: next(row for row in self.recall[name] if row.candidates == n) for name, n in self.stored.items()}
        return {name: {"k": self.k, "mean": row.recall, "least": row.least} for name, row in rows.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        rows = {name: [row.as_dict() for row in rows] for name, rows in self.recall.items()}
        return {"k": self.k, "references": self.references, "recall": rows, "stored": self.stored}


def measure_case(
    client: Elasticsearch,
    searcher: Searcher,
    distances: Sequence[Distance],
    *,
    k: int,
    candidates: Sequence[int],
    sample: int,
    store: float | None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> RecallReport:
    """Compare approximate with exact queries on a case; parameters as for `simquery.Case.recall`."""
    numbers = sorted({max(k, number) for number in candidates})
    distances = distances or [each for each in DISTANCES.values() if each.graph == searcher.embedding.similarity]
    references = sampled_references(client, searcher, sample)
    done = count()

    def step() -> None:
        progress(next(done) + 1, len(distances) * len(references))

    found = {
        distance.name: measure_recall(searcher, references, distance, k=k, candidates=numbers, progress=step)
        for distance in distances
    }
    chosen = {} if store is None else {name: sufficient(rows, store) for name, rows in found.items()}
    report = RecallReport(k, len(references), found, chosen)
    if report.stored:
        store_candidates(client, searcher.case, searcher.model, report.stored, report.measured)
    return report


def sampled_references(client: Elasticsearch, searcher: Searcher, count: int) -> list[Reference]:
    """Return the pictures of the case with the lowest SHA-256 as references: as good as random, but always the same."""
    index = images_index(searcher.case, searcher.model)
    request: dict[str, Any] = {"size": count, "sort": [{"sha256": "asc"}], "source": False}
    found = client.search(index=index, **request)["hits"]["hits"]
    if not found:
        raise QueryError(f"Case '{searcher.case}' holds no picture to use as a reference: index some first.")
    return [searcher.reference(document["_id"]) for document in found]


def measure_recall(
    searcher: Searcher,
    references: Sequence[Reference],
    distance: Distance,
    *,
    k: int,
    candidates: Sequence[int],
    progress: Callable[[], object] = lambda: None,
) -> list[Approximation]:
    """Compare approximate with exact queries, reference by reference.

    Parameters
    ----------
    searcher, references, distance, k
        The queries to compare.
    candidates
        Numbers of candidates to try, each at least k.
    progress
        Called after each reference.
    """
    shares: dict[int, list[float]] = {number: [] for number in candidates}
    times: dict[int | None, list[float]] = {number: [] for number in (None, *candidates)}

    def ask(query: Query, number: int | None) -> Ranking:
        started = time.perf_counter()
        ranking = searcher.rank(query)
        times[number].append(1000 * (time.perf_counter() - started))
        return ranking

    for reference in references:
        exact = ask(Query((reference,), distance, k, mode=Mode.EXACT), None)
        for number in candidates:
            approximate = ask(Query((reference,), distance, k, mode=Mode.APPROXIMATE, candidates=number), number)
            shares[number].append(_shared(exact, approximate))
        progress()
    return [
        Approximation(number, fmean(shares[number]), min(shares[number]), median(times[number]), median(times[None]))
        for number in candidates
    ]


def sufficient(rows: Sequence[Approximation], share: float) -> int | None:
    """Return the smallest number of candidates whose recall reaches a share; None if none does."""
    return min((row.candidates for row in rows if row.recall >= share), default=None)


def _shared(exact: Ranking, approximate: Ranking) -> float:
    # Compare by distance, not by content: it does not matter which of several equally distant pictures comes last.
    farthest = exact.hits[-1].distance
    return sum(hit.distance <= farthest * (1 + 1e-6) for hit in approximate.hits) / len(exact.hits)
