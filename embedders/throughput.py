"""Measurement of a network's speed on this machine."""

import time

import numpy as np

from simquery.embedders.embedder import Embedder

__all__ = ["throughput"]


def throughput(embedder: Embedder, batch: int, seconds: float) -> float:
    """Measure how many pictures per second a network embeds from arrays in memory, after one batch to warm up.

    Parameters
    ----------
    embedder
        The network.
    batch
        Pictures per batch.
    seconds
        Shortest time to measure.
    """
    height, width = embedder.input_size
    pixels = np.random.default_rng(3).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    embedder.embed(pixels)
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not count:
        embedder.embed(pixels)
        count += batch
    return count / passed if passed else 0.0
