"""Documents of the images index: one for each distinct content, with the paths it was found at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.cluster.vectors import pack
from simquery.cluster.waiting import CONFLICT, Cluster
from simquery.indexer.evidence import EvidenceFile
from simquery.mappings import PATHS_LISTED
from simquery.pictures.files import Digests
from simquery.version import __version__

__all__ = ["PATHS_LISTED", "Images", "Occurrence", "image_document"]

_ADD = """
boolean changed = false;
if (ctx._source.paths.size() < params.most) {
  for (path in params.paths) {
    if (ctx._source.paths.size() < params.most && !ctx._source.paths.contains(path)) {
      ctx._source.paths.add(path);
      changed = true;
    }
  }
}
for (label in params.labels) {
  if (ctx._source.labels == null) {
    ctx._source.labels = [label];
    changed = true;
  } else if (!ctx._source.labels.contains(label)) {
    ctx._source.labels.add(label);
    changed = true;
  }
}
if (!changed) {
  ctx.op = 'noop';
}
"""


@dataclass(frozen=True)
class Occurrence:
    """A content at some paths; ``document`` is what to store where the content is new to the index."""

    sha256: str
    paths: list[str]
    labels: list[str]
    document: dict[str, Any] | None = None


def image_document(
    digests: Digests,
    candidate: EvidenceFile,
    fields: dict[str, Any],
    vector: NDArray[np.float32],
    inference: str | None = None,
) -> dict[str, Any]:
    """Document of a new content, all but its paths and labels.

    Parameters
    ----------
    digests
        Of the file.
    candidate
        Where the content was found first: its size, and the modification time there.
    fields
        What decoding found: format, width, height, and the facts that are known.
    vector
        Its feature vector, float32 (dims,). ``norm`` and ``sum`` are taken from it in float64.
    inference
        What computed the vector, where the embedder says so.
    """
    exact = vector.astype(np.float64)
    document = {
        "sha256": digests.sha256,
        "md5": digests.md5,
        "size": candidate.size,
        "modified_at": _moment(candidate.mtime_ns),
        **fields,
        "embedding": pack(vector),
        "norm": float(np.linalg.norm(exact)),
        "sum": float(exact.sum()),
        "inference": inference,
        "indexed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": __version__,
    }
    return {name: value for name, value in document.items() if value is not None}


class Images:
    """Reads and writes an images index."""

    def __init__(self, cluster: Cluster, index: str) -> None:
        self._cluster = cluster
        self._index = index

    def known(self, contents: Iterable[str]) -> set[str]:
        """Which of some contents (SHA-256) have a document; sees writes of a moment ago."""
        found = self._cluster.found(self._index, sorted(set(contents)), source=False)
        return {document["_id"] for document in found if document["found"]}

    def store(self, occurrences: Sequence[Occurrence]) -> dict[str, str]:
        """Store contents and add paths and labels, atomically for each content.

        Several indexers may store the same content at the same time: the first makes the document, the others add
        their paths to it. To make one that is not there yet costs the server least, so that is tried first.

        Returns
        -------
        dict
            The first path of each content, by SHA-256.
        """
        unseen = [occurrence for occurrence in occurrences if occurrence.document is not None]
        answers = self._cluster.bulk(self._index, map(_creation, unseen), return_conflicts=True)
        made = {answer["_id"] for answer in answers if answer["status"] != CONFLICT}
        additions = [_addition(occurrence) for occurrence in occurrences if occurrence.sha256 not in made]
        added = self._cluster.bulk(self._index, additions)
        first_paths = {occurrence.sha256: occurrence.paths[0] for occurrence in unseen if occurrence.sha256 in made}
        return first_paths | {answer["_id"]: answer["get"]["_source"]["paths"][0] for answer in added}

    def refresh(self) -> None:
        """Make everything that was stored visible to searches."""
        self._cluster.ask(lambda client: client.indices.refresh(index=self._index))


def _creation(occurrence: Occurrence) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"create": {"_id": occurrence.sha256}}, _document(occurrence)


def _addition(occurrence: Occurrence) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = {"paths": occurrence.paths, "labels": occurrence.labels, "most": PATHS_LISTED}
    body: dict[str, Any] = {"script": {"source": _ADD, "params": parameters}, "_source": ["paths"]}
    if occurrence.document is not None:
        body["upsert"] = _document(occurrence)
    return {"update": {"_id": occurrence.sha256, "retry_on_conflict": 20}}, body


def _document(occurrence: Occurrence) -> dict[str, Any]:
    labels = {"labels": occurrence.labels} if occurrence.labels else {}
    return {**(occurrence.document or {}), "paths": occurrence.paths[:PATHS_LISTED], **labels}


def _moment(mtime_ns: int) -> str | None:
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a year that no calendar here has
        return None
