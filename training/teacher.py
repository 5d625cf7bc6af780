"""The teacher's features of every view, computed once and stored.

The teacher is an ImageNet network. Its last feature map is centred and projected onto the principal axes of its own
pooled features: in that space the cosine ranks better than in the raw features, and 128 numbers per position are
enough. The pooled feature is the mean of the map, so only the map is stored.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.views import Photos, look

Floats = NDArray[np.float32]
Forward = Callable[[NDArray[np.uint8]], Floats]

SIZE = 224
GRID = 7
AXES = 128
BATCH = 64
FITTED_ON = 4096
"""Number of photos, spread evenly, that determine the principal axes."""

log = logging.getLogger(__name__)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(weights: Path) -> Forward:
    """Return MobileNetV2 up to its last map, from uint8 (n, 224, 224, 3) to float32 (n, 7, 7, 1280).

    It runs on OpenVINO if that is installed (several times faster on a CPU), otherwise on TensorFlow.
    """
    import keras  # noqa: PLC0415

    network = keras.applications.MobileNetV2(weights=str(weights), include_top=False, input_shape=(SIZE, SIZE, 3))
    inputs = keras.Input((SIZE, SIZE, 3))
    network = keras.Model(inputs, network(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))
    try:
        return _openvino(network)
    except ImportError:
        return _tensorflow(network)


def _tensorflow(network: Any) -> Forward:
    import tensorflow as tf  # noqa: PLC0415

    forward = tf.function(lambda batch: network(batch, training=False))
    return lambda batch: np.asarray(forward(tf.constant(batch, tf.float32)))


def _openvino(network: Any) -> Forward:
    import openvino  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        network.export(folder, verbose=False)
        model = openvino.convert_model(folder)
    model.reshape([-1, SIZE, SIZE, 3])
    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    streams = max(1, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def forward(batch: NDArray[np.uint8]) -> Floats:
        parts = np.array_split(batch.astype(np.float32), streams)
        queue = openvino.AsyncInferQueue(compiled, streams)
        answers: dict[int, Floats] = {}

        def keep(request: Any, number: int) -> None:
            answers[number] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for number, part in enumerate(parts):
            if len(part):
                queue.start_async([part], number)
        queue.wait_all()
        return np.concatenate([answers[number] for number in sorted(answers)])

    return forward


class Answers:
    """The teacher's projected maps, one file per view, each computed when it is first needed.

    Parameters
    ----------
    photos : the photos.
    weights : the teacher's weights.
    folder : where the maps are stored. A file gets its final name only when it is complete.
    seed : seed of the views.
    """

    def __init__(self, photos: Photos, weights: Path, folder: Path, seed: int) -> None:
        self.teacher = fingerprint(weights)
        key = f"{photos.fingerprint[:12]}-{self.teacher[:12]}-{seed}"
        self._photos, self._weights, self._seed = photos, weights, seed
        self._folder = folder / key
        self._folder.mkdir(parents=True, exist_ok=True)
        self._forward: Forward | None = None

    def maps(self, view: int) -> NDArray[np.float16]:
        """Return the maps of one view of every photo: float16 (n, 7, 7, 128), memory-mapped from disk."""
        path = self._folder / f"view-{view:03d}.npy"
        if not path.exists():
            mean, axes = self._space()
            shape = (len(self._photos), GRID, GRID, AXES)
            partial = path.with_suffix(".partial")
            out = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
            for rows, maps in self._run(np.arange(len(self._photos)), view):
                out[rows] = (maps - mean) @ axes
            out.flush()
            partial.rename(path)
            log.info("teacher: view %d stored", view)
        stored: NDArray[np.float16] = np.load(path, mmap_mode="r")
        return stored

    def _space(self) -> tuple[Floats, Floats]:
        """Return the mean (1280,) and principal axes (1280, 128) of the pooled features of training photos."""
        path = self._folder / "space.npz"
        if not path.exists():
            training = np.flatnonzero(~self._photos.held_out)
            rows = training[:: max(1, len(training) // FITTED_ON)]
            if len(rows) < AXES:
                raise ValueError(f"{len(rows)} photos are too few for {AXES} principal axes: add more photos")
            pooled = np.concatenate([maps.mean(axis=(1, 2)) for _, maps in self._run(rows, 0)])
            mean = pooled.mean(axis=0)
            _, values, axes = np.linalg.svd(pooled - mean, full_matrices=False)
            share = (values[:AXES] ** 2).sum() / (values**2).sum()
            log.info("teacher: %d axes keep %.3f of the variance", AXES, share)
            np.savez(path, mean=mean, axes=axes[:AXES].T.astype(np.float32))
        with np.load(path) as space:
            return space["mean"], space["axes"]

    def _run(self, rows: NDArray[np.intp], view: int) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        if self._forward is None:
            self._forward = load(self._weights)
        forward = self._forward

        def cut(some: NDArray[np.intp]) -> NDArray[np.uint8]:
            return np.stack([look(self._photos, int(r), view, SIZE, self._seed) for r in some])

        chunks = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(cut, chunks[0])
            for number, chunk in enumerate(chunks):
                batch = ahead.result()
                if number + 1 < len(chunks):
                    ahead = pool.submit(cut, chunks[number + 1])
                yield chunk, forward(batch)
