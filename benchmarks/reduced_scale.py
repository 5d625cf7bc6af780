"""Gain of decoding large photos at a reduced scale, and its effect on rankings.

    python benchmarks/reduced_scale.py ../shared/data/caltech101 --model mobilenetv2

The benchmark enlarges the photos of the folder to the size of a camera's (4,000 pixels), adds noise, and saves them as
JPEG. It embeds each from the full and from a reduced scale. It reports processor milliseconds to decode and resize; the
cosine distance between the two embeddings of a photo, beside that to its nearest neighbour; and precision at 10 (the
folder is the class) with each photo as the reference, itself left out.
"""

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from simquery.embedders import Embedder, build_embedder
from simquery.pictures.decoding import REDUCED_SIDE, load_picture
from simquery.pictures.files import open_evidence
from simquery.settings import load_settings

K = 10
LONGER_SIDE = 4000
NOISE = 6.0
FULL_SCALE = 1 << 20


def main() -> None:
    """Measure and print."""
    model, paths, labels = chosen(__doc__)
    embedder = build_embedder(load_settings(model=model))
    vectors: dict[str, list[np.ndarray]] = {"full": [], "reduced": []}
    seconds = {"full": 0.0, "reduced": 0.0}
    for number, path in enumerate(paths):
        with tempfile.NamedTemporaryFile() as large:
            large.write(enlarged(path, number))
            large.flush()
            for name, side in (("full", FULL_SCALE), ("reduced", REDUCED_SIDE)):
                with open_evidence(Path(large.name)) as file:
                    started = time.process_time()
                    pixels = load_picture(file, side).pixels(embedder.input_size)
                    seconds[name] += time.process_time() - started
                vectors[name].append(unit(embedder, pixels))
    full, reduced = np.stack(vectors["full"]), np.stack(vectors["reduced"])
    among = full @ full.T
    np.fill_diagonal(among, -1)
    across = reduced @ full.T
    np.fill_diagonal(across, -1)
    report = {
        "model": embedder.name,
        "photos": len(paths),
        "decoding, ms": {name: round(1000 * total / len(paths), 1) for name, total in seconds.items()},
        "cosine distance of the two, median and largest": quantiles(1 - np.sum(full * reduced, axis=1)),
        "cosine distance to the nearest neighbour, median and smallest": quantiles(among.max(axis=1) - 1, -1),
        "precision at 10": {"full": precision(among, labels), "reduced": precision(across, labels)},
    }
    print(json.dumps(report, indent=2))


def chosen(description: str | None) -> tuple[str | None, list[Path], np.ndarray]:
    """Return the model, some photos of each class, and their classes, according to the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder with one folder for each class")
    parser.add_argument("--model")
    parser.add_argument("--each", type=int, default=12, help="photos of each class")
    arguments = parser.parse_args()
    folders = sorted(path for path in arguments.photos.iterdir() if path.is_dir())
    paths = [path for folder in folders for path in sorted(folder.iterdir())[: arguments.each]]
    return arguments.model, paths, np.array([path.parent.name for path in paths])


def enlarged(path: Path, seed: int) -> bytes:
    """Return a photo as a camera would have taken it: large, noisy, JPEG."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    factor = LONGER_SIDE / max(rgb.size)
    large = np.asarray(rgb.resize((round(rgb.width * factor), round(rgb.height * factor)), Image.Resampling.LANCZOS))
    noise = np.random.default_rng(seed).normal(0, NOISE, large.shape).astype(np.float32)
    sink = io.BytesIO()
    Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def unit(embedder: Embedder, pixels: np.ndarray) -> np.ndarray:
    """Return the embedding of one picture, scaled to length one."""
    vector = embedder.embed(pixels[np.newaxis])[0].astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def precision(similarities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean share of the ten most similar photos that belong to the reference's class."""
    nearest = np.argsort(-similarities, axis=1)[:, :K]
    return round(float((labels[nearest] == labels[:, None]).mean()), 4)


def quantiles(values: np.ndarray, sign: int = 1) -> list[float]:
    """Return the median and the extreme."""
    return [float(f"{np.median(sign * values):.3g}"), float(f"{(values.max() if sign > 0 else (-values).min()):.3g}")]


if __name__ == "__main__":
    main()
