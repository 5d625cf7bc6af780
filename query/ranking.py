"""Queries and rankings: hits in the order of (distance, SHA-256), with everything needed to repeat the query."""

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

__all__ = ["MAX_HELD", "MAX_HITS", "Hit", "Mode", "Query", "Ranking", "Reference"]

MAX_HITS = 2**31 - 1
"""Most documents that a shard of Elasticsearch can hold."""

MAX_HELD = 250_000
"""Most hits that a ranking holds in memory; longer rankings are streamed (`Searcher.hits`)."""


class Mode(StrEnum):
    """How to search a collection."""

    AUTO = "auto"
    """Exact up to a certain number of pictures; above it approximate, if the case has a graph for the distance."""
    EXACT = "exact"
    """Score every picture: complete and repeatable."""
    APPROXIMATE = "approximate"
    """Score, by the exact distance, only the candidates that a graph finds near the references."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference picture: its path as shown, its SHA-256 (hex), and the vectors of its variants.

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
        The reference pictures, at least one.
    distance
        The distance between vectors.
    k
        Number of hits; None: every picture.
    combine
        How to combine several references.
    rejected
        Pictures that a hit should not look like: a distance d becomes ``d √(d / r)``, where r is the distance to the
        nearest of them. A picture that is as near to them as to the references keeps its distance.
    filters
        Which pictures of the case to search.
    within
        Greatest distance of a hit.
    mode
        How to search.
    candidates
        Number of candidates that an approximate query takes from the graph for each reference; None: the number stored
        with the case, or else a default.

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
            raise QueryError(f"k must be a number from 1 to {MAX_HITS:,}, not {self.k}.")
        if self.within is not None and not (math.isfinite(self.within) and self.within >= 0):
            raise QueryError(f"{self.within} is not a distance: give a number of at least 0 for 'within'.")
        if self.candidates is not None and not 1 <= self.candidates <= MAX_CANDIDATES:
            raise QueryError(f"The number of candidates must be from 1 to {MAX_CANDIDATES:,}, not {self.candidates}.")
        if self.mode is Mode.APPROXIMATE and (self.k is None or self.k > MAX_CANDIDATES):
            raise QueryError(f"An approximate query returns at most {MAX_CANDIDATES:,} hits: use exact mode for more.")

    @property
    def example(self) -> Example:
        """Return the vectors that the script compares documents with."""
        return Example.of(
            [reference.vectors for reference in self.references],
            [reference.vectors for reference in self.rejected],
            self.combine,
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture of the collection.

    ``rank`` counts from 1, ``paths`` are the paths with that content, at most `PATHS_LISTED` of them, and ``facts`` are
    the facts about the picture that the case has.
    """

    rank: int
    distance: float
    sha256: str
    paths: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths_full(self) -> bool:
        """Whether the list of paths has its greatest length: there may be more paths, and the ledger has them all."""
        return len(self.paths) >= PATHS_LISTED

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as a JSON object."""
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
    """The answer to a query: the nearest pictures of a case.

    Attributes
    ----------
    case, model, fingerprint
        Case and model that were searched, and the fingerprint of the network.
    query
        The query.
    mode
        How the pictures were searched: `Mode.EXACT` or `Mode.APPROXIMATE`.
    candidates
        Number of candidates for each reference; None if every picture was scored.
    collection_size
        Number of pictures in the case.
    matched
        Number of pictures that pass the filters and are within the distance; None in an approximate ranking, for which
        it is unknown.
    took_ms
        Time that Elasticsearch took, in milliseconds.
    hits
        The hits in the order of (distance, SHA-256).
    warning
        Warning that hits may be missing because the graph does not serve the distance, with its recall; otherwise None.
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
        """Return the ranking as a JSON object."""
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
