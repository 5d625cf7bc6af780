"""What a query gives: hits in the order of (distance, SHA-256), and everything needed to repeat it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.paths import display_path

__all__ = ["Hit", "Ranking", "Reference"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A query picture: its path as the user gave it, its SHA-256 (hex), its feature vector (float32, (dims,))."""

    path: Path
    sha256: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Hit:
    """A picture of the collection; rank counts from 1, ``paths`` are all places with that content."""

    rank: int
    distance: float
    sha256: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """The ``k`` nearest of ``collection_size`` pictures.

    ``took_ms`` is the time that Elasticsearch took for the search, in milliseconds.
    """

    case: str
    model: str
    distance: str
    mode: str
    k: int
    collection_size: int
    took_ms: int
    references: tuple[Reference, ...]
    hits: tuple[Hit, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the ranking as ``simquery query --json`` prints it."""
        return {
            "case": self.case,
            "model": self.model,
            "distance": self.distance,
            "mode": self.mode,
            "k": self.k,
            "collection_size": self.collection_size,
            "took_ms": self.took_ms,
            "references": [
                {"path": display_path(reference.path), "sha256": reference.sha256} for reference in self.references
            ],
            "hits": [
                {"rank": hit.rank, "distance": hit.distance, "sha256": hit.sha256, "paths": list(hit.paths)}
                for hit in self.hits
            ],
        }
