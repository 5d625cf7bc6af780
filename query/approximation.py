"""What approximate queries miss: their hits compared with those of exact queries on the same collection."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from elasticsearch import Elasticsearch

from simquery.distances import Distance
from simquery.errors import QueryError
from simquery.mappings import images_index
from simquery.query.ranking import Mode, Query, Ranking, Reference
from simquery.query.searcher import Searcher

__all__ = ["Approximation", "measure_recall", "sampled_references", "sufficient"]


@dataclass(frozen=True)
class Approximation:
    """What a number of candidates achieves.

    ``recall`` is the mean and ``least`` the smallest share of the exact hits that the approximate query returns, over
    all references; the times are medians over them, from request to answer.
    """

    candidates: int
    recall: float
    least: float
    approximate_ms: float
    exact_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON shows them."""
        return dataclasses.asdict(self)


def sampled_references(client: Elasticsearch, searcher: Searcher, count: int) -> list[Reference]:
    """Pictures of the case as references: those with the lowest SHA-256, as good as random and the same each time."""
    index = images_index(searcher.case, searcher.model)
    request: dict[str, Any] = {"size": count, "sort": [{"sha256": "asc"}], "source": False}
    found = client.search(index=index, **request)["hits"]["hits"]
    if not found:
        raise QueryError(f"Case '{searcher.case}' holds no picture to measure with.")
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
        What to ask.
    candidates
        The numbers to try, each at least k.
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
    """Smallest number of candidates whose recall reaches a share; None where none does."""
    return min((row.candidates for row in rows if row.recall >= share), default=None)


def _shared(exact: Ranking, approximate: Ranking) -> float:
    # Compare by distance, not by content: it is no loss which of several equally distant pictures comes last.
    farthest = exact.hits[-1].distance
    return sum(hit.distance <= farthest * (1 + 1e-6) for hit in approximate.hits) / len(exact.hits)
