"""Documents of the images index: one for each distinct content, with every path it was found at."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import pack_dense_vector
from numpy.typing import NDArray

from simquery import __version__
from simquery.embedders.pictures import PictureFacts
from simquery.indexer.writing import answered, bulk

__all__ = ["Images", "Occurrence", "image_document"]

_ADD_PATH = """
if (ctx._source.paths.contains(params.path)) {
  ctx.op = 'noop';
} else {
  ctx._source.paths.add(params.path);
}
"""


@dataclass(frozen=True)
class Occurrence:
    """A content at a path; ``document`` is what to store where the content is new to the index."""

    sha256: str
    path: str
    document: dict[str, Any] | None = None


def image_document(sha256: str, size: int, facts: PictureFacts, vector: NDArray[np.float32]) -> dict[str, Any]:
    """Document of a new content, all but its paths.

    Parameters
    ----------
    sha256, size
        Of the file; size in bytes.
    facts
        Format, width, height.
    vector
        Its feature vector, float32 (dims,). ``norm`` and ``sum`` are taken from it in float64.
    """
    exact = vector.astype(np.float64)
    return {
        "sha256": sha256,
        "size": size,
        "format": facts.format,
        "width": facts.width,
        "height": facts.height,
        "embedding": pack_dense_vector(vector),
        "norm": float(np.linalg.norm(exact)),
        "sum": float(exact.sum()),
        "indexed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": __version__,
    }


class Images:
    """Reads and writes an images index."""

    def __init__(self, client: Elasticsearch, index: str) -> None:
        self._client = client
        self._index = index

    def known(self, contents: Iterable[str]) -> set[str]:
        """Which of some contents (SHA-256) have a document; sees writes of a moment ago."""
        ids = sorted(set(contents))
        if not ids:
            return set()
        answer = self._client.mget(index=self._index, ids=ids, source=False)
        return {found["_id"] for found in answered(answer["docs"]) if found["found"]}

    def store(self, occurrences: Iterable[Occurrence]) -> dict[str, str]:
        """Store contents and add paths, atomically for each content.

        Several indexers may store the same content at the same time: the first makes the document, the others add
        their path to it.

        Returns
        -------
        dict
            The first path of each content, by SHA-256.
        """
        answers = bulk(self._client, (self._action(occurrence) for occurrence in occurrences))
        return {answer["_id"]: answer["get"]["_source"]["paths"][0] for answer in answers}

    def refresh(self) -> None:
        """Make everything that was stored visible to searches."""
        self._client.indices.refresh(index=self._index)

    def _action(self, occurrence: Occurrence) -> dict[str, Any]:
        body: dict[str, Any] = {
            "script": {"source": _ADD_PATH, "params": {"path": occurrence.path}},
            "_source": ["paths"],
        }
        if occurrence.document is not None:
            body["upsert"] = {**occurrence.document, "paths": [occurrence.path]}
        return {
            "_op_type": "update",
            "_index": self._index,
            "_id": occurrence.sha256,
            "retry_on_conflict": 10,
            "_source": body,
        }
