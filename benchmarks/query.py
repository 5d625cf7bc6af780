"""Time of queries: every distance, exact and approximate, beside SciPy, NumPy, FAISS and a script with a loop.

Run against the local node or the cluster of the settings::

    simquery up
    python benchmarks/query.py                                   # Caltech-256's size, 30,607 × 1,536
    python benchmarks/query.py --pictures 117920                 # FIRE's size
    python benchmarks/query.py --vector-index none flat hnsw int8_hnsw bbq_hnsw

The vectors are generated to resemble those of networks. Every engine finds the k = 50 nearest of the same references,
in turn; times are medians in milliseconds. FAISS is left out if it is not installed. The cases are deleted at the end.
"""

import argparse
import json
import os
import platform
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import pack_dense_vector, parallel_bulk
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from simquery.connection import open_cluster
from simquery.distances import DISTANCES, EPSILON
from simquery.embedders import Embedder
from simquery.mappings import install_templates, open_images_index
from simquery.query import Mode, Query, Ranking, Reference, Searcher
from simquery.settings import load_settings

K = 50
CLUSTERS, AXES = 257, 48
METRICS = {"cosine": "cosine", "euclidean": "euclidean", "manhattan": "cityblock"}
_LOOPS = 4

# A straightforward script for the modified distance: one loop over the components.
LOOP = """
float[] b = doc['embedding'].vectorValue; def a = params.q;
double d2 = 0, ab = 0, a2 = 0, b2 = 0, sumA = 0, sumB = 0;
for (int i = 0; i < b.length; i++) {
  double x = a[i]; double y = b[i]; double d = x - y;
  d2 += d * d; ab += x * y; a2 += x * x; b2 += y * y; sumA += x; sumB += y;
}
double n = b.length; double shift = sumA - sumB;
double t1 = d2 / (sumA * sumB); double t2 = 1 - ab / Math.sqrt(a2 * b2);
double t3 = (d2 - shift * shift / n) / (2 * (a2 - sumA * sumA / n + b2 - sumB * sumB / n));
return 1 / (params.epsilon + t1 * t1 + t2 * t2 + t3 * t3);
"""

Vectors = NDArray[np.float32]


def features(count: int, dims: int, seed: int) -> Vectors:
    """Generate features like those of networks: never negative, skewed, clustered, on fewer axes than dimensions."""
    random, shared = np.random.default_rng(seed), np.random.default_rng(0)
    centres = shared.normal(size=(CLUSTERS, AXES)).astype(np.float32)
    directions = shared.normal(size=(AXES, dims)).astype(np.float32) / np.sqrt(AXES).astype(np.float32)
    made = np.empty((count, dims), np.float32)
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        points = centres[random.integers(CLUSTERS, size=size)] + 0.6 * random.normal(size=(size, AXES))
        values = points.astype(np.float32) @ directions + 0.1 * random.normal(size=(size, dims)).astype(np.float32)
        made[start : start + size] = np.maximum(values - 0.2, 0)
    return made


def documents(index: str, vectors: Vectors) -> Iterator[dict[str, Any]]:
    """Build the part of an indexer's document that a query needs."""
    for row, vector in enumerate(vectors):
        exact = vector.astype(np.float64)
        yield {
            "_index": index,
            "_id": f"{row:064x}",
            "sha256": f"{row:064x}",
            "paths": [f"/evidence/folder-{row % 997}/picture-{row}.jpg"],
            "embedding": pack_dense_vector(vector),
            "norm": float(np.linalg.norm(exact)),
            "sum": float(exact.sum()),
        }


def load(client: Elasticsearch, case: str, vectors: Vectors, similarity: str, vector_index: str) -> dict[str, Any]:
    """Fill a case with vectors; return the seconds until it can be searched, and its size on disk."""
    dims = vectors.shape[1]
    index = open_images_index(client, case, "made", dims, "0" * 64, similarity=similarity, vector_index=vector_index)
    started = time.perf_counter()
    for _ in parallel_bulk(client, documents(index, vectors), thread_count=2, chunk_size=500):
        pass
    client.indices.refresh(index=index)
    loaded = time.perf_counter() - started
    client.options(request_timeout=3600).indices.forcemerge(index=index, max_num_segments=1)
    client.indices.refresh(index=index)
    size = client.indices.stats(index=index, metric="store")["_all"]["primaries"]["store"]["size_in_bytes"]
    merged = time.perf_counter() - started
    return {"seconds": round(loaded, 1), "with_merge": round(merged, 1), "megabytes": round(size / 1e6)}


class Clock:
    """Times of each engine, reference by reference."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def run(self, name: str, call: Callable[[], Any]) -> Any:
        """Time one call."""
        started = time.perf_counter()
        result = call()
        self.times[name].append(1000 * (time.perf_counter() - started))
        return result

    def medians(self) -> dict[str, float]:
        """Return median milliseconds by engine, without the first call of each, which warms up."""
        return {name: round(median(times[1:]), 2) for name, times in self.times.items()}


def nearest(distances: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Return the rows of the K nearest, in order."""
    first = np.argpartition(distances, K)[:K]
    return first[np.argsort(distances[first], kind="stable")]


def peers(vectors: Vectors, references: Vectors) -> dict[str, float]:
    """Measure SciPy and FAISS on the same work, each with the vectors in the form that suits it best."""
    clock = Clock()
    exact = vectors.astype(np.float64)
    flat = faiss_indexes(vectors)
    for vector in references[:8]:
        query = vector[np.newaxis]
        for name, metric in METRICS.items():
            clock.run(
                f"SciPy cdist, {name}", lambda q=query, m=metric: nearest(cdist(q.astype(np.float64), exact, m)[0])
            )
        for name, index in flat.items():
            clock.run(f"FAISS flat, {name}", lambda q=query, i=index: i.search(q, K))
    return clock.medians()


def faiss_indexes(vectors: Vectors) -> dict[str, Any]:
    """Build flat indexes of FAISS on the CPU; none if it is not installed."""
    if find_spec("faiss") is None:
        return {}
    import faiss  # noqa: PLC0415

    faiss.omp_set_num_threads(2)
    dims = vectors.shape[1]
    made = {
        "cosine": faiss.IndexFlatIP(dims),
        "euclidean": faiss.IndexFlatL2(dims),
        "manhattan": faiss.IndexFlat(dims, faiss.METRIC_L1),
    }
    for index in made.values():
        index.add(vectors)
    return made


def one_case(
    client: Elasticsearch, vectors: Vectors, references: Vectors, kind: dict[str, str], candidates: int
) -> dict[str, Any]:
    """Measure every distance on a case of one kind, in turns with NumPy's matrix-vector product."""
    case = f"bench-{uuid.uuid4().hex[:8]}"
    clock, took, shares = Clock(), defaultdict(list), defaultdict(list)
    try:
        loaded = load(client, case, vectors, kind["similarity"], kind["vector_index"])
        searcher = Searcher(client, case, "made", no_network)
        for number, vector in enumerate(references):
            reference = Reference("made", f"{number}", vector[np.newaxis])
            clock.run("NumPy product", lambda v=vector: vectors @ v)
            # The order changes each time, because whatever follows NumPy shares the cores with NumPy's waiting threads.
            for name in np.roll(list(DISTANCES), number).tolist():
                distance = DISTANCES[name]
                exact = clock.run(f"{name}, exact", partial(searcher.rank, Query((reference,), distance, K)))
                took[name].append(exact.took_ms)
                if kind["vector_index"] == "none" or distance.graph != kind["similarity"]:
                    continue
                query = Query((reference,), distance, K, mode=Mode.APPROXIMATE, candidates=candidates)
                found = clock.run(f"{name}, approximate", partial(searcher.rank, query))
                shares[name].append(len(contents(exact) & contents(found)) / K)
            if number < _LOOPS:
                clock.run("modified, as a loop", partial(by_loop, client, f"simquery-images-{case}-made", vector))
    finally:
        client.indices.delete(index=f"simquery-images-{case}-made", ignore_unavailable=True)
    return {
        **kind,
        "load": loaded,
        "milliseconds": clock.medians(),
        "took": {name: median(times[1:]) for name, times in took.items()},
        "recall": {name: round(float(np.mean(values)), 4) for name, values in shares.items()},
    }


def contents(ranking: Ranking) -> set[str]:
    """Return the contents of a ranking's hits."""
    return {hit.sha256 for hit in ranking.hits}


def by_loop(client: Elasticsearch, index: str, vector: Vectors) -> None:
    """Rank by the modified distance with the straightforward script."""
    script = {"source": LOOP, "params": {"q": vector.tolist(), "epsilon": EPSILON}}
    client.search(index=index, size=K, query={"script_score": {"query": {"match_all": {}}, "script": script}})


def no_network() -> Embedder:
    """Refuse to build a network, since all references are vectors already."""
    raise RuntimeError("no network is needed here")


def text(report: dict[str, Any]) -> str:
    """Format the report as tables: milliseconds, and ratios to NumPy's product and to exact cosine of the same run."""
    lines = [f"{report['pictures']:,} x {report['dims']:,}, k = {K}, {report['machine']}"]
    lines += [f"  {name:26}{time:10.1f}" for name, time in report["peers"].items()]
    for case in report["cases"]:
        load, times = case["load"], case["milliseconds"]
        lines.append(
            f"\n{case['vector_index']}, {case['similarity']}: loaded in {load['seconds']} s, merged after"
            f" {load['with_merge']} s, {load['megabytes']:,} MB"
        )
        lines.append(f"  {'':26}{'ms':>10}{'server':>10}{'x product':>10}{'x cosine':>10}{'recall':>10}")
        for name, milliseconds in times.items():
            distance, _, how = name.partition(", ")
            server = f"{case['took'][distance]:.0f}" if how == "exact" else ""
            recall = f"{case['recall'][distance]:.4f}" if how == "approximate" else ""
            ratios = [milliseconds / times[base] for base in ("NumPy product", "cosine, exact")]
            columns = "".join(f"{ratio:10.2f}" for ratio in ratios)
            lines.append(f"  {name:26}{milliseconds:10.1f}{server:>10}{columns}{recall:>10}")
    return "\n".join(lines)


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=30_607)
    parser.add_argument("--dims", type=int, default=1_536)
    parser.add_argument("--references", type=int, default=21)
    parser.add_argument("--candidates", type=int, default=250)
    parser.add_argument("--vector-index", nargs="+", default=["int8_hnsw"])
    parser.add_argument("--similarity", nargs="+", default=["cosine", "l2_norm"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    vectors = features(arguments.pictures, arguments.dims, 1)
    references = features(arguments.references, arguments.dims, 2)
    report: dict[str, Any] = {
        "pictures": arguments.pictures,
        "dims": arguments.dims,
        "candidates": arguments.candidates,
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}",
        "peers": peers(vectors, references),
        "cases": [],
    }
    with open_cluster(load_settings(), as_administrator=True) as client:
        install_templates(client)
        for vector_index in arguments.vector_index:
            for similarity in arguments.similarity if vector_index != "none" else ["cosine"]:
                kind = {"vector_index": vector_index, "similarity": similarity}
                report["cases"].append(one_case(client, vectors, references, kind, arguments.candidates))
                print(f"measured: {vector_index}, {similarity}", file=sys.stderr)
    print(json.dumps(report, indent=1) if arguments.json else text(report))


if __name__ == "__main__":
    main()
