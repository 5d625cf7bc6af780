"""Measures and times as documents for Kibana: written again, the same run replaces its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from simquery.evaluation.harness import Results
from simquery.evaluation.times import Timing
from simquery.mappings import install_templates, open_measures_index, open_timings_index

__all__ = ["measure_documents", "store", "timing_documents"]


def store(client: Elasticsearch, results: Results, timings: Sequence[Timing], manifest: Mapping[str, Any]) -> int:
    """Write all measures and times of a run into ``simquery-measures`` and ``simquery-timings``.

    Returns
    -------
    int
        How many documents were written.
    """
    install_templates(client)
    count = 0
    for index, documents in (
        (open_measures_index(client), measure_documents(results, manifest)),
        (open_timings_index(client), timing_documents(timings, manifest)),
    ):
        actions = ({"_index": index, "_id": name, **document} for name, document in documents)
        written, _ = bulk(client, actions, refresh=True)
        count += written
    return count


def measure_documents(results: Results, manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One document for each reference × network × distance × measure, with its id."""
    run = _run(manifest)
    for condition, values in results.values.items():
        _, _, layer = condition.model.partition("@")
        facts = run | {
            "model": condition.model,
            "distance": condition.distance,
            "references": max(condition.references, 1),
            "combine": condition.combine,
            "augment": condition.augment,
        }
        if layer:
            facts["layer"] = layer
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            query, measure = results.queries[row], str(results.measures[column])
            reference = results.dataset.pictures[query.reference].sha256
            parts = (condition.model, condition.distance, condition.references, condition.combine, condition.augment)
            yield (
                "|".join(str(part) for part in (manifest["run"], *parts, reference, measure)),
                facts
                | {
                    "measure": measure,
                    "value": float(values[row, column]),
                    "label": query.label,
                    "reference": reference,
                },
            )


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
