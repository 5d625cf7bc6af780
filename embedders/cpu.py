"""Inference on a CPU by OpenVINO: the same network and the same results, two to three times as fast as TensorFlow.

Optional (extra ``cpu``). OpenVINO gets TensorFlow's network and weights in memory.
"""

import importlib.util
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from simquery.embedders.embedder import Features, Pixels

__all__ = ["AGREEMENT", "CpuInference", "agrees", "is_installed"]

logger = logging.getLogger(__name__)

AGREEMENT = 1e-4
"""Embeddings that differ by less than this relative to their norm count as equal; distances then agree to 1e-8."""

_BATCH = 4
"""Pictures per batch and stream: the feature maps of more do not fit into the processor's caches."""

_PROBES = 4


def is_installed() -> bool:
    """Return whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


class CpuInference:
    """A TensorFlow function compiled by OpenVINO.

    Parameters
    ----------
    function
        Concrete function from uint8 (n, height, width, 3) to float32 (n, dims).
    size
        Height and width.
    dims
        Length of a feature vector.
    """

    def __init__(self, function: Any, size: tuple[int, int], dims: int) -> None:
        # OpenVINO's converter would report each use to Intel, but nothing may leave this machine.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino  # noqa: PLC0415

        model = openvino.convert_model(function)
        model.reshape([_BATCH, *size, 3])
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        self._queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", hints))
        self._dims = dims
        self._one_at_a_time = threading.Lock()

    def __call__(self, batch: Pixels) -> Features:
        """Return the feature vectors of a batch, in the same order; each depends on its own picture alone."""
        padding = -len(batch) % _BATCH
        padded = np.concatenate([batch, np.zeros((padding, *batch.shape[1:]), np.uint8)]) if padding else batch
        features = np.empty((len(padded), self._dims), np.float32)

        def keep(request: Any, start: int) -> None:
            features[start : start + _BATCH] = request.get_output_tensor().data

        with self._one_at_a_time:
            self._queue.set_callback(keep)
            for start in range(0, len(padded), _BATCH):
                self._queue.start_async({0: np.ascontiguousarray(padded[start : start + _BATCH])}, start)
            self._queue.wait_all()
        return features[: len(batch)]


def agrees(
    first: Callable[[Pixels], Features], second: Callable[[Pixels], Features], size: tuple[int, int]
) -> tuple[bool, float]:
    """Return whether two ways to compute embeddings agree, and their largest difference relative to the norm.

    Both embed the same patterns of coloured squares, made from a fixed seed.
    """
    height, width = size
    random = np.random.default_rng(17)
    coarse = random.integers(0, 256, (_PROBES, -(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    probes = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    a, b = first(probes).astype(np.float64), second(probes).astype(np.float64)
    difference = float((np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(a, axis=1), 1e-12)).max())
    return difference < AGREEMENT, difference
