"""How many pictures per second a network embeds on this machine."""

import time

import numpy as np

from simquery.embedders.embedder import Embedder

__all__ = ["throughput"]


def throughput(embedder: Embedder, batch: int, seconds: float) -> float:
    """Pictures per second of a network alone, on arrays in memory, once it has warmed up.

    Parameters
    ----------
    embedder
        The network.
    batch
        Pictures at once.
    seconds
        So long it is measured at least.
    """
    height, width = embedder.input_size
    pixels = np.random.default_rng(3).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    embedder.embed(pixels)
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not count:
        embedder.embed(pixels)
        count += batch
    return count / passed if passed else 0.0
