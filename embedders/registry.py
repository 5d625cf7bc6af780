"""The models: find one by name and build its embedder.

A name is looked up in this order: ``embedders`` in the settings, simquery's own networks, the entry points
``simquery.embedders`` of installed packages. An entry point, or ``module:attribute`` in the settings, is code: it names
a callable without parameters, such as a class, that returns an `Embedder`. It is loaded only when its model is used,
and the log names it. A setting may also name a Keras file; code in the file is never run.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from simquery.embedders.backend import has_gpu
from simquery.embedders.checked import CheckedEmbedder
from simquery.embedders.cpu import is_installed
from simquery.embedders.embedder import Embedder
from simquery.embedders.mini import mini_embedder
from simquery.embedders.networks import NETWORKS
from simquery.errors import EmbedderError, UnknownModelError
from simquery.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINTS", "build_embedder", "check_model_name", "model_names"]

logger = logging.getLogger(__name__)

ENTRY_POINTS = "simquery.embedders"

_MAX_DIMS = 4096
_FASTER_IN_TENSORFLOW = frozenset({"mini"})
"""Networks that OpenVINO makes slower (ADR 13). This is a fixed list, not a measurement: the engine that computes a
vector must not depend on how busy the machine is when a run begins."""

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(@[a-z0-9][a-z0-9._-]*)?")


def model_names(settings: Settings) -> list[str]:
    """Return the names of all models, sorted."""
    return sorted({*settings.embedders, *(point.name for point in _plugins()), *NETWORKS, "mini"})


def check_model_name(name: str, settings: Settings) -> str:
    """Check that a model exists, and return its name in lower case; a layer may follow: ``vgg16@block5_pool``.

    Raises
    ------
    UnknownModelError
        When no model has that name.
    """
    name = name.lower()
    known = {name, name.partition("@")[0]}
    # Entry points come last, because listing the installed packages takes a while.
    ours = known & {*settings.embedders, *NETWORKS, "mini"}
    if not _MODEL_NAME.fullmatch(name) or not (ours or known & set(model_names(settings))):
        raise UnknownModelError(f"There is no model '{name}'. Choose from: {', '.join(model_names(settings))}.")
    return name


def build_embedder(settings: Settings) -> Embedder:
    """Build the embedder that the settings name.

    Raises
    ------
    UnknownModelError
        When no model has that name, or the network has no such layer.
    WeightsError
        When its weights are missing or do not fit.
    EmbedderError
        When the code of the user's own embedder cannot be loaded, or is not an embedder.
    """
    name = check_model_name(settings.model, settings)
    embedder = _build(name, settings)
    if settings.precision == "mixed":
        _mix_precision(embedder, settings)
    else:
        _accelerate(embedder, settings)
    if not 0 < embedder.dims <= _MAX_DIMS:
        raise EmbedderError(f"Model '{name}' has {embedder.dims} dimensions; Elasticsearch supports 1 to {_MAX_DIMS}.")
    return embedder


def _mix_precision(embedder: Embedder, settings: Settings) -> None:
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415

    if not isinstance(embedder, KerasEmbedder):
        raise EmbedderError(f"Model '{embedder.name}' is not a Keras network and cannot compute in mixed precision.")
    if settings.inference == "openvino":
        raise EmbedderError("OpenVINO computes in float32: set inference to auto, or precision to float32.")
    try:
        embedder.mix_precision()
    except Exception as error:  # a layer that Keras does not know may raise anything; it concerns this model alone
        raise EmbedderError(
            f"Model '{embedder.name}' cannot compute in mixed precision: {type(error).__name__}: {error}"
        ) from error


def _accelerate(embedder: Embedder, settings: Settings) -> None:
    if settings.inference == "tensorflow" or not is_installed():
        if settings.inference == "openvino":
            raise EmbedderError(
                "OpenVINO is not installed: run \"pip install 'simquery[cpu]'\", or set SIMQUERY_INFERENCE=auto."
            )
        return
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415

    chosen = settings.inference == "openvino" or (embedder.name not in _FASTER_IN_TENSORFLOW and not has_gpu())
    if isinstance(embedder, KerasEmbedder) and chosen:
        embedder.accelerate()


def _build(name: str, settings: Settings) -> Embedder:
    if name in settings.embedders:
        return _own_embedder(name, settings.embedders[name])
    if name == "mini":
        return mini_embedder()
    model, _, layer = name.partition("@")
    if model in NETWORKS:
        from simquery.embedders.keras import application_embedder  # noqa: PLC0415

        return application_embedder(NETWORKS[model], layer or None, settings.weights_dir)
    point = next((point for point in _plugins() if point.name == name), None)
    if point is None:
        raise UnknownModelError(f"Only the Keras networks can be cut at a layer, and '{model}' is not one of them.")
    return _loaded(point, f"package '{point.dist.name}'" if point.dist else "an installed package")


def _plugins() -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # noqa: PLC0415

    return list(entry_points(group=ENTRY_POINTS))


def _own_embedder(name: str, target: str) -> Embedder:
    if target.endswith((".keras", ".h5")):
        from simquery.embedders.keras import file_embedder  # noqa: PLC0415

        return file_embedder(name, Path(target))
    from importlib.metadata import EntryPoint  # noqa: PLC0415

    return _loaded(EntryPoint(name, target, ENTRY_POINTS), "the setting 'embedders'")


def _loaded(point: "EntryPoint", origin: str) -> Embedder:
    """Build an embedder from code; the log names the code and where it was named."""
    name = point.name
    logger.info("model '%s' runs the code '%s', which %s names", name, point.value, origin)
    try:
        embedder = point.load()()
    except EmbedderError:
        raise
    except Exception as error:  # third-party code may raise anything; it concerns this model alone
        raise EmbedderError(f"Model '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(embedder, Embedder):
        raise EmbedderError(
            f"Model '{name}' is not an embedder: name, dims, input_size, fingerprint or embed() is missing."
        )
    if embedder.name != name:
        raise EmbedderError(f"The code of model '{name}' has the name '{embedder.name}'; both names must be the same.")
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415

    return embedder if isinstance(embedder, KerasEmbedder) else CheckedEmbedder(embedder)
