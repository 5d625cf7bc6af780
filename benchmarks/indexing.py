"""Pictures per second from disk to searchable, compared with the network alone, and where the time goes.

Run against the local node or the cluster of the settings::

    simquery up
    python benchmarks/indexing.py ../shared/data/caltech101 --model mobilenetv2
    python benchmarks/indexing.py ../shared/data/caltech101 --model free            # a network that costs nothing
    python benchmarks/indexing.py ../shared/data/caltech101 --model free --copies 30  # 50,000 files: memory over time
    python benchmarks/indexing.py ../shared/data/caltech101 --model mobilenetv2 --peers
    python benchmarks/indexing.py ../shared/data/caltech101 --model resnet50 --random-weights --peers

``--copies`` makes variants of each file in a temporary folder, so that each content is new. ``--peers`` also measures
`keras.predict` in a plain loop over the files. ``--imagededup PYTHON`` measures imagededup's encoder with a Python that
can import it (`pip install imagededup` in a separate environment, because it installs PyTorch). ``--random-weights``
measures a network without its weights. The case is deleted at the end.

Elapsed time depends on what else the machine does; processor time depends on it much less. The report therefore adds up
the processor time of a picture, part by part, and derives the highest rate that this allows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from PIL import Image

from simquery.connection import open_cluster
from simquery.embedders import Embedder, Features, Pixels, build_embedder
from simquery.embedders.networks import NETWORKS
from simquery.embedders.throughput import throughput
from simquery.indexer import Counts, Indexer, check_folder, scan
from simquery.indexer.evidence import inspect
from simquery.indexer.hashing import hash_file
from simquery.pictures.decoders import shared_decoders
from simquery.pictures.formats import is_picture_name
from simquery.settings import load_settings

SAMPLE = 400
EVERY = 5000


class Free:
    """A network that costs nothing."""

    name = "free"
    dims = 1280
    input_size = (224, 224)
    fingerprint = "0" * 64

    def embed(self, batch: Pixels) -> Features:
        """Return a few pixels unchanged."""
        return batch.reshape(len(batch), -1)[:, : self.dims].astype(np.float32) + 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--inference")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--imagededup", metavar="PYTHON")
    parser.add_argument("--random-weights", action="store_true")
    arguments = parser.parse_args()
    settings = load_settings(model=arguments.model, inference=arguments.inference, case=f"bench-{uuid.uuid4().hex[:8]}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.random_weights:
            settings = settings.model_copy(update={"weights_dir": Path(folder)})
            save_random_weights(settings.model, Path(folder))
        embedder = Free() if arguments.model == "free" else build_embedder(settings)
    report: dict[str, Any] = {"model": embedder.name, "inference": getattr(embedder, "inference", None)}
    report |= network_alone(embedder)
    with photographs(arguments.photos, arguments.copies) as folder:
        files = [found.path for found in scan(folder) if is_picture_name(found.path)][:SAMPLE]
        report |= stages(files, embedder)
        with open_cluster(settings, as_administrator=True) as client:
            try:
                report |= whole(client, Indexer(client, settings.case, embedder), folder)
            finally:
                names = [f"simquery-files-{settings.case}", f"simquery-images-{settings.case}-{embedder.name}"]
                client.indices.delete(index=",".join(names), ignore_unavailable=True)
        report |= budget(report)
        if arguments.peers:
            report |= keras_loop(files, settings.model)
        if arguments.imagededup:
            script = Path(__file__).with_name("imagededup_encoder.py")
            command = [arguments.imagededup, str(script), str(folder), settings.model]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            report["imagededup's encoder, pictures/s"] = float(done.stdout)
    print(json.dumps({name: rounded(value) for name, value in report.items()}, indent=2))


def save_random_weights(model: str, folder: Path) -> None:
    """Write a network's weights file with random values, which do not change its speed."""
    import keras  # noqa: PLC0415

    network = NETWORKS[model]
    build = getattr(keras.applications, network.application)
    shape = None if network.include_top else (network.side, network.side, 3)
    plain = build(weights=None, include_top=network.include_top, input_shape=shape, **network.arguments)
    plain.save_weights(folder / network.weights_files[0])


@contextmanager
def photographs(folder: Path, copies: int) -> Iterator[Path]:
    """Yield the folder, or one with variants of its files: the same pictures, each with another comment at its end."""
    if copies == 1:
        yield check_folder(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        for number in range(copies):
            for path in folder.glob("*/*.jpg"):
                target = Path(made) / f"{number:03}" / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                with target.open("ab") as file:
                    file.write(number.to_bytes(4, "little"))
        yield Path(made)


def stages(files: list[Path], embedder: Embedder) -> dict[str, float]:
    """Return milliseconds per picture of each stage alone, one picture after another."""
    found = [inspect(path) for path in files]
    pixels = np.empty((*embedder.input_size, 3), np.uint8)
    shared_decoders().decode(found[0], [pixels])
    begun = time.perf_counter()
    for each in found:
        hash_file(each, lambda: False)
    hashed = time.perf_counter()
    for each in found:
        shared_decoders().decode(each, [pixels])
    decoded = time.perf_counter()
    return {
        "read and hash, ms": 1000 * (hashed - begun) / len(files),
        "decode and describe, ms": 1000 * (decoded - hashed) / len(files),
    }


def network_alone(embedder: Embedder) -> dict[str, float]:
    """Return the network's pictures per second on arrays in memory, and its processor time."""
    throughput(embedder, 64, 1.0)
    processor = time.process_time()
    started = time.perf_counter()
    rate = throughput(embedder, 64, 10.0)
    busy = (time.process_time() - processor) / (time.perf_counter() - started)
    return {"network alone, pictures/s": rate, "network alone, core-ms": 1000 * busy / rate}


def whole(client: Elasticsearch, indexer: Indexer, folder: Path) -> dict[str, Any]:
    """Run the whole pipeline; return its rate, the processor time of each process, and this one's memory over time."""
    memory: list[float] = []
    shared_decoders().decode(next(iter(scan(folder))), [])
    before = processor_times(client)
    started = time.perf_counter()

    def note(counts: Counts) -> None:
        print(counts.seen, end="\r", file=sys.stderr)
        if counts.seen // EVERY > len(memory):
            memory.append(resident())

    indexer.index(scan(folder), note)
    seconds = time.perf_counter() - started
    spent = {name: value - before[name] for name, value in processor_times(client).items()}
    files = indexer.counts.seen
    return {
        "files": files,
        "pictures": indexer.counts.indexed,
        "pictures/s": files / seconds,
        **{f"{name}, core-ms": 1000 * value / files for name, value in spent.items()},
        "processors there are, core-ms": 1000 * (os.cpu_count() or 1) * seconds / files,
        "memory each 5,000 files, MB": memory,
    }


def processor_times(client: Elasticsearch) -> dict[str, float]:
    """Return the processor seconds that this process, its decoders and the server have used since they started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    nodes = client.nodes.stats(metric="process")["nodes"].values()
    return {
        "this process": time.process_time(),
        "decoders": sum(map(processor_time, children)),
        "Elasticsearch": sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000,
    }


def processor_time(process: str) -> float:
    """Return the processor seconds that another process has used."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def budget(report: dict[str, Any]) -> dict[str, float]:
    """Return the rate of the pipeline relative to the bare network, and the highest rate that processor times allow."""
    cost = sum(report[f"{part}, core-ms"] for part in ("this process", "decoders", "Elasticsearch"))
    bare = report["network alone, pictures/s"]
    return {
        "of the network alone": report["pictures/s"] / bare,
        "at best, with no processor idle": 1000 * (os.cpu_count() or 1) / cost / bare,
    }


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def keras_loop(files: list[Path], model: str) -> dict[str, float]:
    """Embed the same files with `keras.predict` in a plain loop."""
    import keras  # noqa: PLC0415

    network = NETWORKS[model]
    build = getattr(keras.applications, network.application)
    plain = build(weights=None, include_top=False, pooling="avg", **network.arguments)
    prepare = getattr(keras.applications, network.module).preprocess_input

    def predict(batch: list[Path]) -> None:
        pictures = [np.asarray(Image.open(path).convert("RGB").resize((network.side, network.side))) for path in batch]
        plain.predict(prepare(np.stack(pictures).astype(np.float32)), verbose=0)

    predict(files[:32])
    started = time.perf_counter()
    for start in range(0, len(files), 32):
        predict(files[start : start + 32])
    return {"keras.predict in a loop, pictures/s": len(files) / (time.perf_counter() - started)}


def rounded(value: object) -> object:
    """Round figures to their significant digits."""
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
