"""Documents of the images index: one for each distinct content, with the paths of its files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.cluster.vectors import pack
from simquery.cluster.waiting import CONFLICT, Cluster
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.texts import with_fitting_texts
from simquery.mappings import PATHS_LISTED
from simquery.pictures.files import Digests
from simquery.version import __version__

__all__ = ["PATHS_LISTED", "Images", "Occurrence", "image_document"]

_WHOLE = frozenset({"embedding", "thumbnail", "paths"})
"""Fields that are not keywords, and the paths, which are never cut because the files could not be found again."""

_ADD = """
boolean changed = false;
for (name in ['paths', 'labels']) {
  for (text in params[name]) {
    if (ctx._source[name] == null) {
      ctx._source[name] = [];
    }
    List known = ctx._source[name];
    if (known.size() < params.most && !known.contains(text)) {
      known.add(text);
      changed = true;
    }
  }
}
if (!changed) {
  ctx.op = 'noop';
}
"""


@dataclass(frozen=True)
class Occurrence:
    """A content and the files that hold it; ``document`` is stored if the content is new to the index."""

    sha256: str
    paths: list[str]
    labels: list[str]
    document: dict[str, Any] | None = None


def image_document(
    digests: Digests,
    file: EvidenceFile,
    fields: dict[str, Any],
    vector: NDArray[np.float32],
    inference: str | None = None,
) -> dict[str, Any]:
    """Return the document of a new content, without its paths and labels.

    Parameters
    ----------
    digests
        Digests of the content.
    file
        The first file with this content, for size and modification time.
    fields
        Fields from decoding: format, width, height, and the facts that are known.
    vector
        Feature vector, float32 (dims,). ``norm`` and ``sum`` are computed from it in float64.
    inference
        Engine that computed the vector, if known.
    """
    exact = vector.astype(np.float64)
    document = {
        "sha256": digests.sha256,
        "md5": digests.md5,
        "size": file.size,
        "modified_at": _moment(file.mtime_ns),
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
    """Read and write an images index during one run."""

    def __init__(self, cluster: Cluster, index: str) -> None:
        self._cluster = cluster
        self._index = index
        self._full: dict[str, _Full] = {}

    def known(self, contents: Iterable[str]) -> set[str]:
        """Return which of some contents (SHA-256) have a document; this sees the latest writes."""
        found = self._cluster.found(self._index, sorted(set(contents)), source=False)
        return {document["_id"] for document in found if document["found"]}

    def store(self, occurrences: Sequence[Occurrence]) -> dict[str, str]:
        """Store contents and add paths and labels, atomically for each content.

        Several indexers may store the same content at the same time: the first makes the document, the others add
        their paths to it. Making a new document costs the server least, so that is tried first. No request is made for
        a document whose list of paths is known to be full.

        Returns
        -------
        dict
            The first path of each content, by SHA-256.
        """
        unseen = [occurrence for occurrence in occurrences if occurrence.document is not None]
        answers = self._cluster.bulk(self._index, map(_creation, unseen), return_conflicts=True)
        made = {answer["_id"] for answer in answers if answer["status"] != CONFLICT}
        first_paths = {occurrence.sha256: occurrence.paths[0] for occurrence in unseen if occurrence.sha256 in made}
        additions = []
        for occurrence in occurrences:
            full = self._full.get(occurrence.sha256)
            if full and full.needs_no(occurrence.labels):
                first_paths[occurrence.sha256] = full.first_path
            elif occurrence.sha256 not in made:
                additions.append(_addition(occurrence))
        for answer in self._cluster.bulk(self._index, additions):
            source = answer["get"]["_source"]
            first_paths[answer["_id"]] = source["paths"][0]
            if len(source["paths"]) >= PATHS_LISTED:
                self._full[answer["_id"]] = _Full(source["paths"][0], frozenset(source.get("labels", ())))
        return first_paths

    def refresh(self) -> None:
        """Make everything that was stored visible to searches."""
        self._cluster.ask(lambda client: client.indices.refresh(index=self._index))


@dataclass(frozen=True)
class _Full:
    """Paths and labels of a document whose list of paths is full."""

    first_path: str
    labels: frozenset[str]

    def needs_no(self, labels: Sequence[str]) -> bool:
        """Return whether adding labels would change nothing."""
        return self.labels.issuperset(labels) or len(self.labels) >= PATHS_LISTED


def _creation(occurrence: Occurrence) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"create": {"_id": occurrence.sha256}}, _document(occurrence)


def _addition(occurrence: Occurrence) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = {"paths": occurrence.paths, "labels": occurrence.labels, "most": PATHS_LISTED}
    body: dict[str, Any] = {"script": {"source": _ADD, "params": parameters}, "_source": ["paths", "labels"]}
    if occurrence.document is not None:
        body["upsert"] = _document(occurrence)
    return {"update": {"_id": occurrence.sha256, "retry_on_conflict": 20}}, body


def _document(occurrence: Occurrence) -> dict[str, Any]:
    labels = {"labels": occurrence.labels[:PATHS_LISTED]} if occurrence.labels else {}
    document = {**(occurrence.document or {}), "paths": occurrence.paths[:PATHS_LISTED], **labels}
    return with_fitting_texts(document, without=_WHOLE)


def _moment(mtime_ns: int) -> str | None:
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a year outside Python's calendar
        return None
