"""Times to build a network, extract features and calculate distances (thesis, section 3.4.4).

Networks are timed in a fresh process, which runs this module: it reads a job as JSON from stdin and writes seconds as
JSON to stdout.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from simquery.cluster.vectors import pack
from simquery.cluster.waiting import Cluster
from simquery.distances import Distance
from simquery.embedders import Embedder, Features, build_embedder, check_model_name
from simquery.errors import ClusterError, EmbedderError, PictureError
from simquery.evaluation.dataset import Dataset, LabelledPicture
from simquery.evaluation.rankings import distances_to
from simquery.mappings import template
from simquery.paths import display_path
from simquery.pictures.decoders import shared_decoders
from simquery.query import Example
from simquery.query.requests import exact_search
from simquery.settings import Settings

__all__ = [
    "PER_EXTRACTION",
    "MeanTime",
    "Timing",
    "mean_times",
    "time_elasticsearch",
    "time_model",
    "time_network",
    "time_numpy",
]

PER_EXTRACTION = 10_000
"""Number of pictures for which feature extraction times are given, as in the thesis."""

_BUILT_WITH = {"model", "weights_dir", "embedders", "inference", "precision"}
_AT_ONCE = 500
_SAMPLE = 128
_BATCH = 32
_HITS = 50
_DISTANCE_RUNS = 16
_WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    """One measured time.

    Attributes
    ----------
    model, distance
        Names of the model and the distance; None for times of a network.
    stage
        ``build`` (of the network, in a fresh process that has TensorFlow loaded), ``extraction`` (reading, decoding and
        embedding pictures) or ``distance`` (from one reference to the whole collection).
    engine
        ``numpy`` or ``elasticsearch`` for distances.
    seconds
        The time; for extraction, scaled to `PER_EXTRACTION` pictures.
    count
        Number of pictures to which ``seconds`` applies.
    """

    model: str
    distance: str | None
    stage: str
    engine: str | None
    seconds: float
    count: int


@dataclass(frozen=True)
class MeanTime:
    """Mean and standard deviation of repeated times, in seconds."""

    stage: str
    model: str
    distance: str | None
    engine: str | None
    mean: float
    deviation: float
    runs: int


def mean_times(timings: Sequence[Timing]) -> list[MeanTime]:
    """Return the means of repeated times, ordered by stage, model, distance, engine."""

    def key(timing: Timing) -> tuple[str, str, str, str]:
        return timing.stage, timing.model, timing.distance or "", timing.engine or ""

    rows = []
    for (stage, model, distance, engine), group in groupby(sorted(timings, key=key), key):
        seconds = np.array([timing.seconds for timing in group])
        deviation = float(seconds.std(ddof=1)) if len(seconds) > 1 else 0.0
        rows.append(
            MeanTime(stage, model, distance or None, engine or None, float(seconds.mean()), deviation, len(seconds))
        )
    return rows


def time_network(settings: Settings, pictures: Sequence[LabelledPicture], runs: int) -> Iterator[Timing]:
    """Build the settings' model and extract features with it, each time in a fresh process.

    Parameters
    ----------
    settings
        Model and weights.
    pictures
        Pictures to take a sample from.
    runs
        Number of repetitions.

    Raises
    ------
    EmbedderError
        When the network cannot be built in a separate process.
    """
    step = max(1, len(pictures) // _SAMPLE)
    files = [str(picture.file.absolute()) for picture in pictures[::step][:_SAMPLE]]
    job = json.dumps({"settings": settings.model_dump(mode="json", include=_BUILT_WITH), "files": files})
    for _ in range(runs):
        # -P: do not search the current folder for modules, because it may hold evidence.
        command = [sys.executable, "-P", "-m", "simquery.evaluation.times"]
        done = subprocess.run(command, input=job, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise EmbedderError(f"Model '{settings.model}' could not be timed in a separate process: {lines[-1]}")
        seconds = json.loads(done.stdout)
        yield Timing(settings.model, None, "build", None, seconds["build"], 1)
        scale = PER_EXTRACTION / len(files)
        yield Timing(settings.model, None, "extraction", None, seconds["extraction"] * scale, PER_EXTRACTION)


def time_numpy(
    model: str, vectors: Features, rows: Sequence[int], distances: Sequence[Distance], runs: int
) -> Iterator[Timing]:
    """Yield the times of the distances from each of several references to the whole collection, in NumPy."""
    collection = np.array(vectors)
    for distance in distances:
        for row in _repeated(rows, runs):
            started = time.perf_counter()
            distances_to(distance, collection[row : row + 1], collection)
            yield Timing(model, distance.name, "distance", "numpy", time.perf_counter() - started, len(collection))


def time_model(
    settings: Settings,
    dataset: Dataset,
    vectors: Features,
    *,
    distances: Sequence[Distance],
    runs: int,
    client: Elasticsearch | None,
) -> Iterator[Timing]:
    """Yield all times of one model: its network, and its distances in NumPy and, with a cluster, in Elasticsearch.

    Parameters
    ----------
    settings
        Model and weights.
    dataset
        The judged pictures.
    vectors : float32, shape (n, dims)
        Their feature vectors under the model.
    distances
        Distances to time, each 16 times.
    runs
        How often to build the network and extract features.
    client
        Connection to the cluster, or None.
    """
    rows = [int(members[0]) for members in dataset.members.values()][:_DISTANCE_RUNS]
    yield from time_network(settings, dataset.pictures, runs)
    yield from time_numpy(settings.model, vectors, rows, distances, _DISTANCE_RUNS)
    if client is not None:
        yield from time_elasticsearch(
            client, settings.model, dataset, vectors, rows=rows, distances=distances, runs=_DISTANCE_RUNS
        )


def time_elasticsearch(
    client: Elasticsearch,
    model: str,
    dataset: Dataset,
    vectors: Features,
    *,
    rows: Sequence[int],
    distances: Sequence[Distance],
    runs: int,
) -> list[Timing]:
    """Yield the times of exact queries in Elasticsearch with each of several references, 50 hits each.

    The collection is loaded into a temporary index, which belongs to no case and is deleted in any event.
    """
    index = f"simquery-scratch-{uuid.uuid4().hex}"
    body = template("images")["template"]
    body["mappings"]["properties"]["embedding"]["dims"] = vectors.shape[1]
    timings = []
    try:
        client.indices.create(index=index, **body, wait_for_active_shards=1)
        documents = _documents(dataset, vectors)
        while group := list(islice(documents, _AT_ONCE)):
            Cluster(client).bulk(index, group)
        client.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        for distance in distances:
            for number, row in enumerate([*_repeated(rows, _WARM_UP), *_repeated(rows, runs)]):
                example = Example.of([np.array(vectors[row : row + 1])])
                started = time.perf_counter()
                answer = client.search(index=index, **exact_search(example, distance, _HITS))
                seconds = time.perf_counter() - started
                if answer["timed_out"] or answer["_shards"]["failed"]:
                    raise ClusterError("Elasticsearch could not score every picture: the time would be too short.")
                if number >= _WARM_UP:
                    timings.append(Timing(model, distance.name, "distance", "elasticsearch", seconds, len(vectors)))
    finally:
        client.indices.delete(index=index, ignore_unavailable=True)
    return timings


def _repeated(rows: Sequence[int], runs: int) -> list[int]:
    return [rows[run % len(rows)] for run in range(runs)]


def _documents(dataset: Dataset, vectors: Features) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for picture, vector in zip(dataset.pictures, vectors, strict=True):
        exact = vector.astype(np.float64)
        document = {
            "sha256": picture.sha256,
            "paths": list(picture.paths),
            "embedding": pack(vector),
            "norm": float(np.linalg.norm(exact)),
            "sum": float(exact.sum()),
        }
        yield {"index": {"_id": picture.sha256}}, document


def _in_fresh_process() -> None:
    from simquery.embedders.backend import load_tensorflow  # noqa: PLC0415

    job = json.load(sys.stdin)
    settings = Settings.model_validate(job["settings"])
    check_model_name(settings.model, settings)
    load_tensorflow()
    import keras  # noqa: F401, PLC0415  (all networks load it: not part of the time)

    started = time.perf_counter()
    embedder = build_embedder(settings)
    build = time.perf_counter() - started
    files = [Path(name) for name in job["files"]]
    _extract(files[:1], embedder)  # warm up: the first call compiles the network and starts the decoder
    started = time.perf_counter()
    _extract(files, embedder)
    json.dump({"build": build, "extraction": time.perf_counter() - started}, sys.stdout)


def _extract(files: Sequence[Path], embedder: Embedder) -> None:
    for start in range(0, len(files), _BATCH):
        batch = np.empty((len(files[start : start + _BATCH]), *embedder.input_size, 3), dtype=np.uint8)
        for file, pixels in zip(files[start : start + _BATCH], batch, strict=True):
            decoded = shared_decoders().decode(file, [pixels])
            if isinstance(decoded, PictureError):
                raise PictureError(f"'{display_path(file)}' can no longer be read: {decoded}.")
        embedder.embed(batch)


if __name__ == "__main__":
    _in_fresh_process()
