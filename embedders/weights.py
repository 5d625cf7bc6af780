"""Weights files of the Keras networks, in the user's folder or in Keras' cache.

`export_weights` and `import_weights` bring them from a connected machine to one without internet.
"""

import os
import shutil
from pathlib import Path

from simquery.embedders.networks import Network
from simquery.errors import WeightsError

__all__ = ["export_weights", "find_weights", "import_weights", "keras_cache", "missing_weights", "stated_fingerprint"]

_KERAS_3_SUFFIX = ".weights.h5"
_FINGERPRINT_SUFFIX = ".fingerprint"


def find_weights(network: Network, weights_dir: Path | None) -> Path | None:
    """Return the weights file of a network on this machine, or None if there is none.

    Raises
    ------
    WeightsError
        When ``weights_dir`` is set but is not a folder.
    """
    if weights_dir is not None and not weights_dir.is_dir():
        raise WeightsError(f"SIMQUERY_WEIGHTS_DIR names '{weights_dir}', which is not a folder.")
    folders = [weights_dir, keras_cache()] if weights_dir else [keras_cache()]
    candidates = (folder / name for folder in folders for name in network.weights_files)
    return next((path for path in candidates if path.is_file()), None)


def keras_cache() -> Path:
    """Return the folder in which Keras keeps downloaded weights."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def missing_weights(network: Network, weights_dir: Path | None, why: str) -> WeightsError:
    """Return the error that says which file to bring to this machine, and how."""
    return WeightsError(
        f"The weights of '{network.name}' are not on this machine, and downloading them failed ({why})."
        f" On a connected machine run 'simquery models fetch {network.name} --to FOLDER', bring"
        f" FOLDER/{network.keras_file} here and run 'simquery models add {network.name} FILE' (or put it into"
        f" {weights_dir or keras_cache()}). The model 'mini' (--model mini) needs no file: its weights are installed."
    )


def export_weights(network: Network, file: Path, fingerprint: str, folder: Path) -> Path:
    """Copy a weights file into a folder for transport, and write the embedder's fingerprint beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / _file_name(network, file)
    _copy(file, target)
    _fingerprint_file(target).write_text(fingerprint + "\n", encoding="ascii")
    return target


def stated_fingerprint(file: Path) -> str | None:
    """Return the fingerprint that `export_weights` wrote beside a file, or None."""
    beside = _fingerprint_file(file)
    return beside.read_text(encoding="ascii").strip() if beside.is_file() else None


def import_weights(network: Network, file: Path, weights_dir: Path | None) -> Path:
    """Copy a weights file to where `find_weights` looks: the user's folder if one is set, else Keras' cache."""
    folder = weights_dir or keras_cache()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / _file_name(network, file)
    _copy(file, target)
    return target


def _file_name(network: Network, file: Path) -> str:
    # Keras tells its two file formats apart by the file names alone.
    own, of_keras = network.weights_files
    return own if file.name.endswith(_KERAS_3_SUFFIX) else of_keras


def _fingerprint_file(file: Path) -> Path:
    return file.with_name(file.name + _FINGERPRINT_SUFFIX)


def _copy(file: Path, target: Path) -> None:
    if target.exists() and target.samefile(file):
        return
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(file, partial)
    partial.replace(target)
