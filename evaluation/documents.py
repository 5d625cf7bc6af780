"""Measures and times as documents for Kibana: written again, the same run replaces its own."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from simquery.cluster.waiting import Cluster
from simquery.evaluation.harness import CURVE, Condition, Results
from simquery.evaluation.times import Timing
from simquery.mappings import install_templates, open_index

__all__ = ["measure_documents", "store", "timing_documents"]


_AT_ONCE = 1000

_POINTS = range(4, len(CURVE), 5)
"""The points of a curve that Kibana shows: every twentieth of the relevant pictures."""


def store(client: Elasticsearch, results: Results, timings: Sequence[Timing], manifest: Mapping[str, Any]) -> int:
    """Write all measures and times of a run into ``simquery-measures`` and ``simquery-timings``.

    Returns
    -------
    int
        How many documents were written.
    """
    install_templates(client)
    count = 0
    cluster = Cluster(client)
    for kind, documents in (
        ("measures", measure_documents(results, manifest)),
        ("timings", timing_documents(timings, manifest)),
    ):
        index = open_index(client, kind)
        operations = (({"index": {"_id": name}}, document) for name, document in documents)
        while group := list(islice(operations, _AT_ONCE)):
            count += len(cluster.bulk(index, group))
        client.indices.refresh(index=index)
    return count


def measure_documents(results: Results, manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One document for each reference × network × distance × measure, with its id, then the mean curves.

    A point of a curve is ``curve@q``: the mean over the references of what has to be looked at until the share q of the
    relevant pictures is found. It belongs to no reference and no class.
    """
    for condition, values in results.values.items():
        facts = _facts(manifest, condition)
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            query, measure = results.queries[row], str(results.measures[column])
            reference = results.dataset.pictures[query.reference].sha256
            yield (
                _id(manifest, condition, reference, measure),
                facts
                | {
                    "measure": measure,
                    "value": float(values[row, column]),
                    "label": query.label,
                    "reference": reference,
                },
            )

    for condition, curves in results.curves.items():
        facts = _facts(manifest, condition)
        for place in _POINTS:
            point = f"curve@{CURVE[place]:.2f}"
            mean = float(curves[np.isfinite(curves[:, place]), place].mean())
            yield _id(manifest, condition, point), facts | {"measure": point, "value": mean}


def _facts(manifest: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    _, _, layer = condition.model.partition("@")
    facts = _run(manifest) | {
        "model": condition.model,
        "distance": condition.distance,
        "references": max(condition.references, 1),
        "combine": condition.combine,
        "augment": condition.augment,
    }
    return facts | {"layer": layer} if layer else facts


def _id(manifest: Mapping[str, Any], condition: Condition, *parts: str) -> str:
    conditions = (condition.model, condition.distance, condition.references, condition.combine, condition.augment)
    return "|".join(str(part) for part in (manifest["run"], *conditions, *parts))


def timing_documents(timings: Sequence[Timing], manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One document for each time that was taken, with its id."""
    for number, timing in enumerate(timings):
        document = _run(manifest) | {
            "model": timing.model,
            "stage": timing.stage,
            "seconds": timing.seconds,
            "count": timing.count,
        }
        if timing.distance:
            document["distance"] = timing.distance
        if timing.engine:
            document["engine"] = timing.engine
        yield f"{manifest['run']}|{manifest['at']}|{number}", document


def _run(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {"run": manifest["run"], "dataset": manifest["dataset"]["name"], "at": manifest["at"]}
