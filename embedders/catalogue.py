"""Catalogue of networks: list them, measure their speed on this machine, and install their weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simquery.embedders.cpu import is_installed
from simquery.embedders.networks import NETWORKS, Network
from simquery.embedders.registry import build_embedder, model_names
from simquery.embedders.throughput import throughput
from simquery.embedders.weights import export_weights, find_weights, import_weights, stated_fingerprint
from simquery.errors import UnknownModelError, WeightsError
from simquery.settings import Settings

__all__ = ["TO_DOWNLOAD", "CatalogueEntry", "Weights", "add_weights", "bench", "catalogue", "fetch_weights"]

TO_DOWNLOAD = "to be downloaded"


@dataclass(frozen=True)
class CatalogueEntry:
    """A network that can be used as a model.

    Attributes
    ----------
    model
        Name of the network.
    layer, dims, input
        Layer at which it is cut, length of its feature vectors, and size of its input in pixels; None for networks
        that do not come from Keras.
    weights
        Where its weights are, or `TO_DOWNLOAD`.
    fingerprint
        Fingerprint of the network, if it was requested and the weights are on this machine; otherwise None.
    """

    model: str
    layer: str | None
    dims: int | None
    input: str | None
    weights: str
    fingerprint: str | None = None


@dataclass(frozen=True)
class Weights:
    """Weights that have been loaded and checked.

    Attributes
    ----------
    model
        Name of the network.
    file
        Weights file on this machine.
    fingerprint
        Fingerprint of the network with these weights.
    compared
        Whether the fingerprint was compared with a known one.
    exported
        Copy made for transport, if any.
    """

    model: str
    file: Path
    fingerprint: str
    compared: bool = False
    exported: Path | None = None


def catalogue(settings: Settings, *, fingerprints: bool = False) -> list[CatalogueEntry]:
    """List all networks by name.

    Parameters
    ----------
    settings
        They name the user's own networks, and the folder with weights.
    fingerprints
        Load the networks whose weights are on this machine, to return their fingerprints.
    """
    entries = [_entry(name, settings) for name in model_names(settings)]
    return [_fingerprinted(entry, settings) for entry in entries] if fingerprints else entries


def bench(
    settings: Settings, names: Sequence[str] = (), *, batch: int = 64, seconds: float = 5.0
) -> list[dict[str, object]]:
    """Measure how many pictures per second this machine embeds, with each installed inference engine.

    Parameters
    ----------
    settings
        As for `catalogue`.
    names
        The networks; by default all whose weights are on this machine.
    batch
        Number of pictures per batch.
    seconds
        Time for each measurement.
    """
    here = [entry.model for entry in catalogue(settings) if entry.weights != TO_DOWNLOAD]
    engines = ["tensorflow", *(["openvino"] if is_installed() and settings.precision == "float32" else [])]
    rows: list[dict[str, object]] = []
    for name in names or here:
        row: dict[str, object] = {"model": name}
        for engine in engines:
            embedder = build_embedder(settings.model_copy(update={"model": name, "inference": engine}))
            row[f"{engine}, pictures/s"] = round(throughput(embedder, batch, seconds), 1)
        rows.append(row)
    return rows


def fetch_weights(settings: Settings, name: str, folder: Path | None = None) -> Weights:
    """Download the weights of a network unless they are on this machine, check them, and copy them to a folder.

    Raises
    ------
    UnknownModelError
        When the network has no weights to download.
    WeightsError
        When they cannot be downloaded, or do not fit.
    """
    from simquery.embedders.keras import application_embedder  # noqa: PLC0415  (TensorFlow takes seconds)

    network = _network(name)
    fingerprint = application_embedder(network, None, settings.weights_dir).fingerprint
    file = find_weights(network, settings.weights_dir)
    if file is None:
        raise WeightsError(f"Keras loaded the weights of '{network.name}', but did not store them in its cache.")
    exported = None if folder is None else export_weights(network, file, fingerprint, folder)
    return Weights(network.name, file, fingerprint, exported=exported)


def add_weights(settings: Settings, name: str, file: Path, fingerprint: str | None = None) -> Weights:
    """Check weights that were brought from another machine, and copy them to where simquery looks for them.

    Parameters
    ----------
    settings
        They name the folder with weights.
    name
        The network.
    file
        The weights.
    fingerprint
        Fingerprint that `fetch_weights` returned on the other machine; by default the one that it wrote beside the
        file, if there is one.

    Raises
    ------
    UnknownModelError
        When the network has no weights to add.
    WeightsError
        When they do not fit, or have another fingerprint.
    """
    from simquery.embedders.keras import application_embedder  # noqa: PLC0415  (TensorFlow takes seconds)

    network = _network(name)
    found = application_embedder(network, None, None, file).fingerprint
    expected = fingerprint or stated_fingerprint(file)
    if expected is not None and found != expected:
        raise WeightsError(f"'{file}' is not the file that was fetched: its fingerprint is {found}, not {expected}.")
    return Weights(
        network.name, import_weights(network, file, settings.weights_dir), found, compared=expected is not None
    )


def _fingerprinted(entry: CatalogueEntry, settings: Settings) -> CatalogueEntry:
    if entry.weights == TO_DOWNLOAD:
        return entry
    embedder = build_embedder(settings.model_copy(update={"model": entry.model}))
    return replace(entry, fingerprint=embedder.fingerprint)


def _network(name: str) -> Network:
    network = NETWORKS.get(name.lower())
    if network is None:
        raise UnknownModelError(f"'{name}' has no weights to fetch or add. These have: {', '.join(NETWORKS)}.")
    return network


def _entry(name: str, settings: Settings) -> CatalogueEntry:
    if name in settings.embedders:
        return CatalogueEntry(name, None, None, None, settings.embedders[name])
    if name == "mini":
        return CatalogueEntry(name, None, None, None, "part of simquery")
    network = NETWORKS.get(name)
    if network is None:
        return CatalogueEntry(name, None, None, None, "an installed package")
    file = find_weights(network, settings.weights_dir)
    side = f"{network.side} x {network.side}"
    return CatalogueEntry(name, network.layer, network.dims, side, str(file) if file else TO_DOWNLOAD)
