"""Effect of mixed precision on embeddings, rankings and speed.

    python benchmarks/precision.py ../shared/data/caltech101 --model mobilenetv2

The benchmark embeds each photo of the folder in float32 and in mixed precision. It reports pictures per second of both;
the cosine distance between the two embeddings of a photo, beside that to its nearest neighbour; precision at 10 (the
folder is the class) with each photo as the reference, itself left out; and how many of the first ten hits are the same.
Mixed precision is made for GPUs: on a CPU it is slower, and the benchmark only shows the effect on rankings.
"""

import json
from pathlib import Path

import numpy as np
from reduced_scale import K, chosen, precision, quantiles

from simquery.embedders import Embedder, build_embedder
from simquery.embedders.throughput import throughput
from simquery.pictures.decoding import decode
from simquery.pictures.files import open_evidence
from simquery.settings import load_settings


def main() -> None:
    """Measure and print."""
    model, paths, labels = chosen(__doc__)
    settings = load_settings(model=model, inference="tensorflow")
    rates, vectors = {}, {}
    for kind in ("float32", "mixed"):
        embedder = build_embedder(settings.model_copy(update={"precision": kind}))
        rates[kind] = round(throughput(embedder, 32, 5.0), 1)
        vectors[kind] = embedded(embedder, paths)
    exact, mixed = vectors["float32"], vectors["mixed"]
    similarities = {kind: each @ each.T for kind, each in vectors.items()}
    for each in similarities.values():
        np.fill_diagonal(each, -1)
    nearest = {kind: np.argsort(-each, axis=1)[:, :K] for kind, each in similarities.items()}
    same = [len({*a} & {*b}) / K for a, b in zip(*nearest.values(), strict=True)]
    report = {
        "model": settings.model,
        "photos": len(paths),
        "pictures/s": rates,
        "cosine distance of the two, median and largest": quantiles(1 - np.sum(exact * mixed, axis=1)),
        "cosine distance to the nearest neighbour, median and smallest": quantiles(
            similarities["float32"].max(axis=1) - 1, -1
        ),
        "precision at 10": {kind: precision(each, labels) for kind, each in similarities.items()},
        "the same among the first 10": round(float(np.mean(same)), 4),
    }
    print(json.dumps(report, indent=2))


def embedded(embedder: Embedder, paths: list[Path]) -> np.ndarray:
    """Return embeddings of pictures, scaled to length one: float64 (n, dims)."""
    rows = []
    for start in range(0, len(paths), 32):
        batch = []
        for path in paths[start : start + 32]:
            with open_evidence(path) as file:
                batch.append(decode(file, [embedder.input_size])[1][0])
        rows.append(embedder.embed(np.stack(batch)))
    vectors = np.concatenate(rows).astype(np.float64)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
