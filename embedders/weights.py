"""Where the weights of a Keras network come from: the user's folder, Keras' cache, or a download by Keras."""

import os
from pathlib import Path

from simquery.embedders.networks import Network

from simquery.errors import WeightsError

__all__ = ["find_weights", "keras_cache", "missing_weights"]


def find_weights(network: Network, weights_dir: Path | None) -> Path | None:
    """Weights file of a network on this machine, or None.

    Raises
    ------
    WeightsError
        When ``weights_dir`` is set but is not a folder.
    """
    if weights_dir is not None and not weights_dir.is_dir():
        raise WeightsError(f"SIMQUERY_WEIGHTS_DIR names '{weights_dir}', which is not a folder.")
    candidates = [weights_dir / name for name in network.weights_files] if weights_dir else []
    candidates.append(keras_cache() / network.keras_file)
    return next((path for path in candidates if path.is_file()), None)


def keras_cache() -> Path:
    """Folder in which Keras keeps downloaded weights."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def missing_weights(network: Network, weights_dir: Path | None, why: str) -> WeightsError:
    """Error that says exactly which file to bring, and where to put it."""
    folder = weights_dir or "a folder named by SIMQUERY_WEIGHTS_DIR"
    return WeightsError(
        f"The weights of '{network.name}' are not on this machine, and downloading them failed ({why}). On a connected"
        f" machine run: python -c 'import keras; keras.applications.{network.application}("
        f"{_call_arguments(network)})'. Then bring ~/.keras/models/{network.keras_file} and put it into {folder}."
        " The model 'mini' needs no download: --model mini."
    )


def _call_arguments(network: Network) -> str:
    arguments = {**network.arguments, "include_top": network.include_top}
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
