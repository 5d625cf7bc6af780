"""Accuracy and speed of embedders: mini beside the mobile ImageNet networks.

    python benchmarks/embedders.py ../shared/data/caltech101 --weights ../shared/weights [--json FILE]

Every picture is the reference once; all others are ranked by cosine, and those of the same folder are relevant. Speed
is that of the embedding alone: in one process, all contenders embed the same prepared batches in turn in every round.
Pictures per second of processor time (of all processors together) also compare networks on a machine that is busy.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simquery.embedders import build_embedder
from simquery.embedders.cpu import is_installed
from simquery.settings import Settings

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]

P_AT = 10
BINS = 8


@dataclass(frozen=True)
class Contender:
    """A way to turn pictures of one size into vectors; `run` takes a batch that `prepare` has made."""

    name: str
    size: int
    prepare: Callable[[Pixels], Any]
    run: Callable[[Any], Vectors]


@dataclass(frozen=True)
class Result:
    """One row of the table; the measures are means over all references."""

    name: str
    size: int
    dims: int
    mean_average_precision: float
    precision_at_10: float
    auirc: float
    pictures_per_second: float
    pictures_per_processor_second: float


def read(folder: Path) -> tuple[list[Path], NDArray[np.intp]]:
    """Return the pictures below `folder`, and for each the number of its folder."""
    paths = sorted(folder.glob("*/*.jpg"))
    if not paths:
        raise SystemExit(f"no pictures in {folder}/*/")
    names = sorted({path.parent.name for path in paths})
    return paths, np.array([names.index(path.parent.name) for path in paths])


def pixels(paths: list[Path], size: int) -> Pixels:
    """Resize pictures to (size, size), as the package does for its embedders: uint8 (n, size, size, 3)."""

    def one(path: Path) -> Pixels:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))

    return np.stack([one(path) for path in paths])


def measures(vectors: Vectors, labels: NDArray[np.intp]) -> tuple[float, float, float]:
    """Return mean average precision, precision at 10 and normalised AUIRC, by cosine, leaving the reference out.

    The inverse recall curve passes through (0, 0) and (i, rank at which the i-th relevant picture is found); AUIRC is
    its area by trapezoids, here divided by R * N, where R pictures of the N ranked ones are relevant.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similar = unit @ unit.T
    each = []
    for reference, row in enumerate(similar):
        order = np.argsort(-row, kind="stable")
        relevant = labels[order[order != reference]] == labels[reference]
        ranks = np.flatnonzero(relevant) + 1
        if not len(ranks):
            continue
        average_precision = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        area = ranks.sum() - ranks[-1] / 2
        each.append((average_precision, relevant[:P_AT].mean(), area / (len(ranks) * len(relevant))))
    mean = np.mean(each, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


def keras_contender(name: str, model: Any, rescale: bool = True) -> Contender:
    """Wrap a Keras network; `rescale`: its input is -1 to 1 instead of 0 to 255."""
    import tensorflow as tf  # noqa: PLC0415

    forward = tf.function(lambda batch: model(batch, training=False))

    def prepare(batch: Pixels) -> Any:
        values = batch.astype(np.float32)
        return tf.constant(values / np.float32(127.5) - 1 if rescale else values)

    return Contender(name, model.input_shape[1], prepare, lambda batch: forward(batch).numpy())


def histogram(batch: Pixels) -> Vectors:
    """Return roots of the joint RGB histogram, 8 bins per channel: their cosine is the Bhattacharyya coefficient."""
    width = 256 // BINS
    codes = (batch // width).astype(np.intp) @ np.array([BINS * BINS, BINS, 1])
    counts = [np.bincount(code.ravel(), minlength=BINS**3) for code in codes]
    return np.sqrt(np.stack(counts)).astype(np.float32)


def contenders(folder: Path) -> list[Contender]:
    """Return everything that is compared; `folder` holds the weights of the ImageNet networks."""
    import keras  # noqa: PLC0415

    from simquery.embedders.mini import archive, network  # noqa: PLC0415

    applications = keras.applications

    def pretrained(name: str, build: Callable[..., Any], file: str, **more: Any) -> Contender:
        model = build(weights=str(folder / file), include_top=False, pooling="avg", input_shape=(224, 224, 3), **more)
        return keras_contender(name, model)

    def accelerated() -> Contender:
        settings = Settings(model="mobilenetv2", weights_dir=folder, inference="openvino")
        return Contender("MobileNetV2, OpenVINO", 224, lambda batch: batch, build_embedder(settings).embed)

    keras.utils.set_random_seed(0)
    return [
        keras_contender("mini", archive.load(), rescale=False),
        pretrained("MobileNetV2", applications.MobileNetV2, "mobilenetv2.weights.h5"),
        *([accelerated()] if is_installed() else []),
        pretrained("MobileNetV2-0.35", applications.MobileNetV2, "mobilenetv2-0.35.weights.h5", alpha=0.35),
        pretrained("MobileNet", applications.MobileNet, "mobilenet.weights.h5"),
        keras_contender("mini, untrained", network.build(), rescale=False),
        Contender("colour histogram", 112, lambda batch: batch, histogram),
    ]


def speeds(
    all_contenders: list[Contender], paths: list[Path], batch: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Return pictures per second, and per second of processor time: the medians over rounds.

    In each round every contender embeds the same pictures once.
    """
    prepared = {}
    for contender in all_contenders:
        values = pixels(paths[: 2 * batch], contender.size)
        prepared[contender.name] = [
            contender.prepare(values[start : start + batch]) for start in range(0, len(values), batch)
        ]
        contender.run(prepared[contender.name][0])  # warms up: compiles, chooses kernels
    taken: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in all_contenders}
    for _ in range(rounds):
        for contender in all_contenders:
            began, worked = time.perf_counter(), time.process_time()
            for part in prepared[contender.name]:
                contender.run(part)
            taken[contender.name].append((time.perf_counter() - began, time.process_time() - worked))
    n = len(paths[: 2 * batch])
    return {
        name: (n / statistics.median(clock for clock, _ in seconds), n / statistics.median(work for _, work in seconds))
        for name, seconds in taken.items()
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="one folder of .jpg pictures per class")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the weights of the ImageNet networks")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    paths, labels = read(given.photos)
    compared = contenders(given.weights)
    speed = speeds(compared, paths, given.batch, given.rounds)
    results = []
    print(f"{'':22} {'input':>5} {'dims':>5} {'mAP':>6} {'P@10':>6} {'AUIRC':>6} {'pictures/s':>11} {'per CPU s':>10}")
    for contender in compared:
        values = pixels(paths, contender.size)
        starts = range(0, len(values), given.batch)
        parts = [contender.run(contender.prepare(values[start : start + given.batch])) for start in starts]
        vectors = np.concatenate(parts)
        row = Result(
            contender.name, contender.size, vectors.shape[1], *measures(vectors, labels), *speed[contender.name]
        )
        results.append(row)
        print(
            f"{row.name:22} {row.size:5} {row.dims:5} {row.mean_average_precision:6.3f} {row.precision_at_10:6.3f} "
            f"{row.auirc:6.4f} {row.pictures_per_second:11.0f} {row.pictures_per_processor_second:10.0f}",
            flush=True,
        )
    mini, reference = results[0], results[1]
    quality = mini.mean_average_precision / reference.mean_average_precision
    faster = mini.pictures_per_second / reference.pictures_per_second
    print(f"mini / MobileNetV2: mAP x {quality:.2f}, pictures per second x {faster:.1f}")
    if given.json:
        import tensorflow as tf  # noqa: PLC0415

        report = {
            "pictures": len(paths),
            "classes": len(set(labels.tolist())),
            "batch": given.batch,
            "rounds": given.rounds,
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "results": [asdict(row) for row in results],
        }
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
