"""Queries and rankings: hits in the order of (distance, SHA-256), with everything that it takes to repeat the query."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.distances import Distance
from simquery.errors import QueryError
from simquery.mappings import PATHS_LISTED
from simquery.query.example import Combine, Example
from simquery.query.filters import Filters
from simquery.query.requests import MAX_CANDIDATES

__all__ = ["MAX_HITS", "Hit", "Mode", "Query", "Ranking", "Reference"]

MAX_HITS = 2**31 - 1
"""The most documents that a shard of Elasticsearch holds."""


class Mode(StrEnum):
    """How to search a collection."""

    AUTO = "auto"
    """Exact up to a certain number of pictures; above it approximate, if the case has a graph for the distance."""
    EXACT = "exact"
    """Score every picture: complete and repeatable."""
    APPROXIMATE = "approximate"
    """Score only the candidates that a graph finds near the references, by the exact distance."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A query picture: its path as it is shown, its SHA-256 (hex), and the vectors of its variants.

    ``vectors`` is float32 (variants, dims), the picture itself first; ``augment`` names what was done to the others.
    """

    path: str
    sha256: str
    vectors: NDArray[np.float32]
    augment: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Query:
    """What to look for, and how.

    Attributes
    ----------
    references
        At least one.
    distance
        The distance between vectors.
    k
        How many hits; None: every picture.
    combine
        How several references count together.
    rejected
        Pictures that a hit should not look like: a distance d becomes ``d √(d / r)``, where r is the distance to the
        nearest of them. A picture that is as near to them as to the references keeps its distance.
    filters
        Which pictures of the case to look at.
    within
        The greatest distance of a hit.
    mode
        How to search.
    candidates
        How many candidates each reference brings into an approximate query; None: the number stored with the case, or
        else a default.

    Raises
    ------
    QueryError
        When a number is out of its range.
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
        if self.k is not None and not 1 <= self.k <= MAX_HITS:
            raise QueryError(f"{self.k} hits cannot be shown: k goes from 1 to {MAX_HITS:,}.")
        if self.within is not None and not (math.isfinite(self.within) and self.within >= 0):
            raise QueryError(f"{self.within} is not a distance: 'within' takes a number of at least 0.")
        if self.candidates is not None and not 1 <= self.candidates <= MAX_CANDIDATES:
            raise QueryError(f"{self.candidates} candidates are not possible: give 1 to {MAX_CANDIDATES:,}.")
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


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture of the collection.

    ``rank`` counts from 1, ``paths`` are the places with that content, at most `PATHS_LISTED` of them, and ``facts`` is
    what the case knows of the picture.
    """

    rank: int
    distance: float
    sha256: str
    paths: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths_full(self) -> bool:
        """Whether the list of paths is as long as lists get: there may be more paths, which the ledger has."""
        return len(self.paths) >= PATHS_LISTED

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as JSON shows it."""
        return {
            "rank": self.rank,
            "distance": self.distance,
            "sha256": self.sha256,
            "paths": list(self.paths),
            "paths_full": self.paths_full,
            **self.facts,
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """The nearest of ``collection_size`` pictures.

    Attributes
    ----------
    case, model, fingerprint
        What was searched; the fingerprint is the network's.
    query
        The query.
    mode
        How it was answered: `Mode.EXACT` or `Mode.APPROXIMATE`.
    candidates
        How many candidates each reference brought in; None where every picture was scored.
    collection_size
        Pictures of the case.
    matched
        How many of them pass the filters and lie within the distance; None in an approximate ranking, which cannot
        tell.
    took_ms
        Time that Elasticsearch took, in milliseconds.
    hits
        In the order of (distance, SHA-256).
    warning
        What to know before relying on it: the recall of a graph that does not serve the distance.
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
    warning: str | None = None

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
            "warning": self.warning,
            "references": [_named(reference) for reference in self.references],
            "rejected": [_named(reference) for reference in self.query.rejected],
            "hits": [hit.as_dict() for hit in self.hits],
        }


def _named(reference: Reference) -> dict[str, Any]:
    return {"path": reference.path, "sha256": reference.sha256, "variants": len(reference.vectors)}
