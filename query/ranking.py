"""What a query asks and gives: hits in the order of (distance, SHA-256), and all that is needed to repeat it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.distances import Distance
from simquery.errors import QueryError
from simquery.query.example import Combine, Example
from simquery.query.filters import Filters
from simquery.query.requests import MAX_CANDIDATES

__all__ = ["Hit", "Mode", "Query", "Ranking", "Reference"]


class Mode(StrEnum):
    """How a collection is searched."""

    AUTO = "auto"
    """Exact up to a size of the collection, approximate beyond it where the case has a graph for the distance."""
    EXACT = "exact"
    """Every picture is scored: repeatable, and complete."""
    APPROXIMATE = "approximate"
    """Only what a graph finds near the references is scored, with the exact distance."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A query picture: its path as it is shown, its SHA-256 (hex), and the vectors of its variants.

    ``vectors`` is float32 (variants, dims), the picture itself first.
    """

    path: str
    sha256: str
    vectors: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for, and how.

    Attributes
    ----------
    references
        At least one.
    distance
        What compares vectors.
    k
        How many hits; None: every picture.
    combine
        How several references count together.
    rejected
        Pictures that a hit should not look like: a distance d becomes ``d √(d / r)``, r being the distance to the
        nearest of them. What is as near to them as to the references keeps its distance.
    filters
        What of the case is looked at.
    within
        The greatest distance of a hit.
    mode
        How.
    candidates
        How many candidates each reference brings into an approximate query; None: what is stored with the case, else
        a default.

    Raises
    ------
    QueryError
        When it makes no sense.
    """

    references: tuple[Reference, ...]
    distance: Distance
    k: int | None = 50
    combine: Combine = Combine.SUM
    rejected: tuple[Reference, ...] = ()
    filters: Filters = field(default_factory=Filters)
    within: float | None = None
    mode: Mode = Mode.AUTO
    candidates: int | None = None

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise QueryError(f"{self.k} hits cannot be shown: k begins at 1.")
        if self.within is not None and not (math.isfinite(self.within) and self.within >= 0):
            raise QueryError(f"{self.within} is no distance: 'within' takes a number from 0.")
        if self.candidates is not None and not 1 <= self.candidates <= MAX_CANDIDATES:
            raise QueryError(f"{self.candidates} candidates are not possible: 1 to {MAX_CANDIDATES:,} are.")
        if self.mode is Mode.APPROXIMATE and (self.k is None or self.k > MAX_CANDIDATES):
            raise QueryError(f"An approximate query gives at most {MAX_CANDIDATES:,} hits: use the exact mode.")

    @property
    def example(self) -> Example:
        """The vectors that the script compares with."""
        return Example.of(
            [reference.vectors for reference in self.references],
            [reference.vectors for reference in self.rejected],
            self.combine,
        )


@dataclass(frozen=True)
class Hit:
    """A picture of the collection.

    ``rank`` counts from 1, ``paths`` are all places with that content, ``facts`` what is known of the picture.
    """

    rank: int
    distance: float
    sha256: str
    paths: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as JSON shows it."""
        return {
            "rank": self.rank,
            "distance": self.distance,
            "sha256": self.sha256,
            "paths": list(self.paths),
            **self.facts,
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """The nearest of ``collection_size`` pictures.

    Attributes
    ----------
    case, model, fingerprint
        What was searched; the fingerprint is that of the network.
    query
        What was asked.
    mode
        How it was searched: `Mode.EXACT` or `Mode.APPROXIMATE`.
    candidates
        How many candidates each reference brought in; None where every picture was scored.
    collection_size
        Pictures of the case.
    matched
        How many of them pass the filters and lie within the distance; None in an approximate ranking, which does not
        know.
    took_ms
        Time that Elasticsearch took, in milliseconds.
    hits
        In the order of (distance, SHA-256).
    """

    case: str
    model: str
    fingerprint: str
    query: Query
    mode: Mode
    candidates: int | None
    collection_size: int
    matched: int | None
    took_ms: int
    hits: tuple[Hit, ...]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references of the query."""
        return self.query.references

    @property
    def distance(self) -> str:
        """Name of the distance."""
        return self.query.distance.name

    def as_dict(self) -> dict[str, Any]:
        """Return the ranking as JSON shows it."""
        return {
            "case": self.case,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "distance": self.distance,
            "combine": str(self.query.combine),
            "mode": str(self.mode),
            "candidates": self.candidates,
            "k": self.query.k,
            "within": self.query.within,
            "filters": self.query.filters.clauses(),
            "collection_size": self.collection_size,
            "matched": self.matched,
            "took_ms": self.took_ms,
            "references": [_named(reference) for reference in self.references],
            "rejected": [_named(reference) for reference in self.query.rejected],
            "hits": [hit.as_dict() for hit in self.hits],
        }


def _named(reference: Reference) -> dict[str, Any]:
    return {"path": reference.path, "sha256": reference.sha256, "variants": len(reference.vectors)}
