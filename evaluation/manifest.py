"""The manifest: everything that determines the figures of a run, and the run's name, which is its digest."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from simquery.evaluation.dataset import Dataset
from simquery.evaluation.measures import Measure
from simquery.evaluation.topics import Topic
from simquery.version import __version__

__all__ = ["make_manifest"]

_LIBRARIES = ("numpy", "scipy", "pillow", "tensorflow", "keras")


def make_manifest(
    dataset: Dataset,
    queries: Sequence[Topic],
    *,
    measures: Sequence[Measure],
    distances: Sequence[str],
    networks: Mapping[str, Mapping[str, Any]],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the manifest of a run, as a document for JSON.

    ``determined_by`` holds everything that determines the measures: data, weights, vectors, versions, settings, seed,
    references. The run's name is the beginning of its SHA-256, so runs with the same name have the same measures. Times
    differ from run to run.

    Parameters
    ----------
    dataset, queries, measures, distances
        The data set, the references, the measures and the distances.
    networks
        By model: ``fingerprint`` of the embedder, ``inference`` (how the vectors were computed, and how many of them
        came from a case) and ``vectors``, the SHA-256 of all vectors that were ranked.
    protocol
        Further settings: seed, number of references, augmentations.
    """
    determined_by: dict[str, Any] = {
        "simquery": __version__,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "data": dataset.fingerprint,
        "models": {model: facts["fingerprint"] for model, facts in networks.items()},
        "inference": {model: facts["inference"] for model, facts in networks.items()},
        "vectors": {model: facts["vectors"] for model, facts in networks.items()},
        "distances": list(distances),
        "measures": [str(measure) for measure in measures],
        "protocol": dict(protocol),
        "references": [
            {
                "class": query.label,
                "reference": dataset.pictures[query.reference].sha256,
                "companions": [dataset.pictures[row].sha256 for row in query.companions],
            }
            for query in queries
        ],
    }
    text = json.dumps(determined_by, sort_keys=True)
    return {
        "run": hashlib.sha256(text.encode()).hexdigest()[:16],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "determined_by": determined_by,
        "dataset": {
            "name": dataset.name,
            "pictures": len(dataset.pictures),
            "classes": {label: len(rows) for label, rows in dataset.members.items()},
            "distractors": sorted(dataset.distractors),
            "in_several_classes": [
                {"sha256": picture.sha256, "paths": picture.paths, "classes": picture.labels}
                for picture in dataset.shared
            ],
            "left_out": [{"path": omission.path, "reason": omission.reason} for omission in dataset.omissions],
        },
        "reference_paths": {
            dataset.pictures[query.reference].sha256: dataset.pictures[query.reference].paths[0] for query in queries
        },
        "machine": {"python": platform.python_version(), "system": platform.platform(), "cpu": platform.machine()},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
