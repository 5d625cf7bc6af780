"""Generated vectors in a real index, and queries of them without a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, pack_dense_vector
from numpy.typing import NDArray

from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.mappings import open_images_index
from simquery.query import Query, Ranking, Reference, Searcher

DIMS = 96


def never() -> Embedder:
    raise AssertionError("the network was asked for")


def store(
    client: Elasticsearch,
    case: str,
    vectors: NDArray[np.float32],
    facts: Sequence[Mapping[str, Any]] | None = None,
    **graph: str,
) -> list[str]:
    """Store vectors as the indexer does; their ids are in the order of the rows."""
    index = open_images_index(client, case, "net", vectors.shape[1], "f" * 64, **graph)
    ids = [f"{number:064x}" for number in range(len(vectors))]
    exact = vectors.astype(np.float64)
    bulk(
        client,
        (
            {
                "_index": index,
                "_id": ids[row],
                "sha256": ids[row],
                "paths": [f"/evidence/{row}.jpg"],
                "embedding": pack_dense_vector(vectors[row]),
                "norm": float(np.linalg.norm(exact[row])),
                "sum": float(exact[row].sum()),
                **(facts[row] if facts else {}),
            }
            for row in range(len(vectors))
        ),
        refresh=True,
    )
    return ids


def references(vectors: NDArray[np.float32]) -> tuple[Reference, ...]:
    return tuple(Reference(f"{row}.jpg", f"{row}", vector[np.newaxis]) for row, vector in enumerate(vectors))


def ranked(searcher: Searcher, vectors: NDArray[np.float32], name: str, k: int | None, **options: Any) -> Ranking:
    return searcher.rank(Query(references(vectors), DISTANCES[name], k, **options))


def features(seed: int, count: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Like a network's pooled features: never negative, many small, some zero."""
    values = np.random.default_rng(seed).gamma(0.4, 1.0, (count, DIMS)) * scale
    return np.where(values < 0.02 * scale, 0, values).astype(np.float32)
