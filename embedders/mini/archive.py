"""The archive of the weights: 8-bit integers and one scale per output channel, checked before use."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.embedders.mini import network
from simquery.errors import WeightsError

Arrays = dict[str, NDArray[Any]]

PATH = Path(__file__).with_name("weights.npz")
CHECKSUM_SUFFIX = ".sha256"
"""Suffix of the file beside the archive that contains its SHA-256 in the format of `sha256sum`."""

_LEVELS = 127


def fold(kernel: NDArray[Any], gain: NDArray[Any], shift: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return kernel and bias of the one convolution that equals a convolution followed by its normalisation.

    Parameters
    ----------
    kernel
        (height, width, channels in, channels out).
    gain, shift
        (channels out,): the normalisation is ``gain * x + shift``.
    """
    return kernel * gain, shift


def quantise(kernel: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a kernel in 8-bit integers, symmetric per output channel (the last axis), and the channels' scales."""
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scale = (np.maximum(largest, 1e-12) / _LEVELS).astype(np.float32)
    return np.rint(kernel / scale).astype(np.int8), scale


def save(convolutions: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], path: Path) -> str:
    """Write (kernel, bias) of every convolution to ``path`` and its checksum beside it; return the SHA-256."""
    arrays: Arrays = {}
    for name, (kernel, bias) in convolutions.items():
        arrays[f"{name}.kernel"], arrays[f"{name}.scale"] = quantise(kernel)
        arrays[f"{name}.bias"] = bias.astype(np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path.write_bytes(buffer.getvalue())
    _checksum_file(path).write_text(f"{digest}  {path.name}\n", "utf-8")
    return digest


def fill(model: Any, content: bytes) -> None:
    """Set the weights of a model of `network.build` from the content of an archive."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for layer in model.layers:
            if layer.weights:
                kernel = arrays[f"{layer.name}.kernel"].astype(np.float32) * arrays[f"{layer.name}.scale"]
                layer.set_weights([kernel, arrays[f"{layer.name}.bias"]])


def load(path: Path = PATH) -> Any:
    """Load the trained network.

    Parameters
    ----------
    path
        The archive; its checksum is in a file beside it.

    Returns
    -------
    keras.Model
        See `network.build`.

    Raises
    ------
    WeightsError
        When its SHA-256 is not the stored one.
    """
    content = path.read_bytes()
    expected = _checksum_file(path).read_text("utf-8").split()[0]
    if hashlib.sha256(content).hexdigest() != expected:
        raise WeightsError(f"'{path}' is damaged: its SHA-256 is not the one stored beside it. Reinstall simquery.")
    model = network.build()
    fill(model, content)
    return model


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + CHECKSUM_SUFFIX)
