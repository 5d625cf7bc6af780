"""How long it takes: building a network, extracting features, calculating distances (thesis, section 3.4.4).

Run as a module it is the fresh process that networks are timed in: a job in JSON on stdin, seconds in JSON on stdout.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from simquery.cluster.vectors import pack
from simquery.distances import Distance
from simquery.embedders import Embedder, Features, build_embedder, check_model_name
from simquery.errors import EmbedderError
from simquery.evaluation.dataset import Dataset, LabelledPicture
from simquery.evaluation.rankings import distances_to
from simquery.mappings import open_images_index
from simquery.pictures.decoding import decode
from simquery.pictures.files import open_evidence
from simquery.query import Mode, Query, Reference, Searcher
from simquery.settings import Settings, load_settings

__all__ = ["PER_EXTRACTION", "MeanTime", "Timing", "mean_times", "time_elasticsearch", "time_network", "time_numpy"]

PER_EXTRACTION = 10_000
"""Feature extraction is stated for so many pictures, as in the thesis."""

_SAMPLE = 128
_BATCH = 32
_HITS = 50
_WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    """One measured time.

    Attributes
    ----------
    model, distance
        Names; the distance only where it matters.
    stage
        ``build`` (the network, in a fresh process that has TensorFlow loaded), ``extraction`` (reading, decoding and
        embedding pictures) or ``distance`` (of one reference to the whole collection).
    engine
        ``numpy`` or ``elasticsearch``, for distances.
    seconds
        Extraction: scaled to `PER_EXTRACTION` pictures.
    count
        How many pictures ``seconds`` is for.
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
    """Sum up repeated times, ordered by stage, model, distance, engine."""

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
        Of which a sample is embedded.
    runs
        How often.
    """
    step = max(1, len(pictures) // _SAMPLE)
    files = [str(picture.file.absolute()) for picture in pictures[::step][:_SAMPLE]]
    job = json.dumps(
        {
            "settings": settings.model_dump(mode="json", include={"model", "weights_dir", "embedders"}),
            "files": files,
        }
    )
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-m", "simquery.evaluation.times"], input=job, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise EmbedderError(f"Model '{settings.model}' could not be timed in a process of its own: {lines[-1]}")
        seconds = json.loads(done.stdout)
        yield Timing(settings.model, None, "build", None, seconds["build"], 1)
        scale = PER_EXTRACTION / len(files)
        yield Timing(settings.model, None, "extraction", None, seconds["extraction"] * scale, PER_EXTRACTION)


def time_numpy(
    model: str, vectors: Features, rows: Sequence[int], distances: Sequence[Distance], runs: int
) -> Iterator[Timing]:
    """Distances of one reference after the other to the whole collection, in NumPy."""
    collection = np.array(vectors)
    for distance in distances:
        for row in _repeated(rows, runs):
            started = time.perf_counter()
            distances_to(distance, collection[row : row + 1], collection)
            yield Timing(model, distance.name, "distance", "numpy", time.perf_counter() - started, len(collection))


def time_elasticsearch(
    client: Elasticsearch,
    model: str,
    fingerprint: str,
    dataset: Dataset,
    vectors: Features,
    *,
    rows: Sequence[int],
    distances: Sequence[Distance],
    runs: int,
) -> Iterator[Timing]:
    """Exact queries of one reference after the other through Elasticsearch, the first 50 hits each.

    The collection is loaded into a case of its own, which is deleted at the end.
    """
    case = f"timing-{uuid.uuid4().hex[:12]}"
    index = open_images_index(client, case, model, vectors.shape[1], fingerprint)
    try:
        bulk(client, _documents(index, dataset, vectors))
        client.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        searcher = Searcher(client, case, model, _never)
        for distance in distances:
            for number, row in enumerate([*_repeated(rows, _WARM_UP), *_repeated(rows, runs)]):
                picture = dataset.pictures[row]
                reference = Reference(picture.paths[0], picture.sha256, np.array(vectors[row : row + 1]))
                query = Query((reference,), distance, _HITS, mode=Mode.EXACT)
                started = time.perf_counter()
                searcher.rank(query)
                seconds = time.perf_counter() - started
                if number >= _WARM_UP:
                    yield Timing(model, distance.name, "distance", "elasticsearch", seconds, len(vectors))
    finally:
        client.indices.delete(index=index)


def _repeated(rows: Sequence[int], runs: int) -> list[int]:
    return [rows[run % len(rows)] for run in range(runs)]


def _documents(index: str, dataset: Dataset, vectors: Features) -> Iterator[dict[str, object]]:
    for picture, vector in zip(dataset.pictures, vectors, strict=True):
        exact = vector.astype(np.float64)
        yield {
            "_index": index,
            "_id": picture.sha256,
            "sha256": picture.sha256,
            "paths": list(picture.paths),
            "embedding": pack(vector),
            "norm": float(np.linalg.norm(exact)),
            "sum": float(exact.sum()),
        }


def _never() -> Embedder:
    raise EmbedderError("Timing needs no network.")


def _in_fresh_process() -> None:
    from simquery.embedders.backend import load_tensorflow  # noqa: PLC0415

    job = json.load(sys.stdin)
    settings = load_settings(**job["settings"])
    check_model_name(settings.model, settings)
    load_tensorflow()
    import keras  # noqa: F401, PLC0415  (loaded once for all networks: not what is timed)

    started = time.perf_counter()
    embedder = build_embedder(settings)
    build = time.perf_counter() - started
    embedder.embed(np.zeros((1, *embedder.input_size, 3), dtype=np.uint8))  # the first call compiles
    started = time.perf_counter()
    _extract([Path(name) for name in job["files"]], embedder)
    json.dump({"build": build, "extraction": time.perf_counter() - started}, sys.stdout)


def _extract(files: Sequence[Path], embedder: Embedder) -> None:
    for start in range(0, len(files), _BATCH):
        batch = []
        for path in files[start : start + _BATCH]:
            with open_evidence(path) as file:
                batch.append(decode(file, [embedder.input_size])[1][0])
        embedder.embed(np.stack(batch))


if __name__ == "__main__":
    _in_fresh_process()
