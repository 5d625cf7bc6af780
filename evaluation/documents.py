"""Documents for Kibana with the measures and times of a run; storing a run again replaces its documents."""

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
"""Shares of the relevant pictures at which Kibana shows a curve, in steps of one twentieth."""


def store(
    client: Elasticsearch,
    results: Results,
    timings: Sequence[Timing],
    manifest: Mapping[str, Any],
    *,
    singles: bool = False,
) -> int:
    """Write measures and times of a run into ``simquery-measures`` and ``simquery-timings``.

    Parameters
    ----------
    client
        Connection to the cluster.
    results, timings, manifest
        Results, times and manifest of the run.
    singles
        Whether to store the value of every reference under every condition. Otherwise single values are stored only
        for conditions with one plain reference, because Kibana draws their distribution, and means for all others.

    Returns
    -------
    int
        Number of documents written.
    """
    install_templates(client)
    count = 0
    cluster = Cluster(client)
    for kind, documents in (
        ("measures", measure_documents(results, manifest, singles=singles)),
        ("timings", timing_documents(timings, manifest)),
    ):
        index = open_index(client, kind)
        operations = (({"index": {"_id": name}}, document) for name, document in documents)
        while group := list(islice(operations, _AT_ONCE)):
            count += len(cluster.bulk(index, group))
        client.indices.refresh(index=index)
    return count


def measure_documents(
    results: Results, manifest: Mapping[str, Any], *, singles: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield measures as documents with their ids: single values, means, then the mean curves.

    A single value has a reference and its class. A mean over all references has neither, nor does a point of a curve,
    ``curve@q``: the mean share of pictures to look at until the share q of the relevant ones is found. A condition has
    single values or a mean, never both, so that averages in Kibana count nothing twice.

    Parameters
    ----------
    results, manifest
        Results and manifest of the run.
    singles
        Whether every condition has single values; otherwise only those with one plain reference do.
    """
    for condition, values in results.values.items():
        facts = _facts(manifest, condition)
        if singles or condition.single:
            for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
                query, measure = results.queries[row], str(results.measures[column])
                reference = results.dataset.pictures[query.reference].sha256
                own = {"measure": measure, "value": float(values[row, column])}
                yield (
                    _id(manifest, condition, reference, measure),
                    facts | own | {"label": query.label, "reference": reference},
                )
        elif np.isfinite(values).any():
            for measure, mean in zip(map(str, results.measures), np.nanmean(values, axis=0).tolist(), strict=True):
                yield _id(manifest, condition, measure), facts | {"measure": measure, "value": mean}

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
    """Yield one document with its id for each measured time."""
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
    dataset, at = manifest["dataset"]["name"], manifest["at"]
    # What people choose a run by; begins with the time, so that a newer run sorts behind an older one.
    named = [
        f"{at[:16].replace('T', ' ')}",
        dataset,
        ", ".join(manifest["determined_by"]["models"]),
        manifest["run"][:6],
    ]
    return {"run": manifest["run"], "named": " · ".join(named), "dataset": dataset, "at": at}
