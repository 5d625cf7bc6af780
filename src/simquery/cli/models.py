"""``simquery models list | bench | fetch | add``: which networks there are, and how their weights get here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich import box
from rich.table import Table

from simquery.cli.options import command, json_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.embedders import build_embedder, model_names
from simquery.embedders.cpu import is_installed
from simquery.embedders.networks import NETWORKS, Network
from simquery.embedders.throughput import throughput
from simquery.embedders.weights import export_weights, find_weights, import_weights, stated_fingerprint
from simquery.errors import UnknownModelError, WeightsError
from simquery.settings import Settings

__all__ = ["models"]

_TO_DOWNLOAD = "to be downloaded"


@click.group(epilog="Example:  simquery models list")
def models() -> None:
    """Networks: which there are, and how to bring their weights to a machine without internet."""


@models.command("list", epilog="Example:  simquery models list")
@click.option("--fingerprints", is_flag=True, help="Load those that are here and show their fingerprints.")
@json_option
@command
def list_models(settings: Settings, *, as_json: bool, fingerprints: bool) -> None:
    """List the networks, where each is cut, and where its weights are."""
    rows = [_row(name, settings) for name in model_names(settings)]
    if fingerprints:
        rows = [{**row, "fingerprint": _fingerprint(row, settings)} for row in rows]
    _show(rows, as_json=as_json)


@models.command(epilog="Example:  simquery models bench mini mobilenetv2")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--batch", type=click.IntRange(1, 4096), default=64, show_default=True, help="Pictures at once.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Time for each.")
@json_option
@command
def bench(settings: Settings, names: tuple[str, ...], batch: int, seconds: float, *, as_json: bool) -> None:
    """Measure how many pictures per second this machine embeds with networks NAME; by default those that are here.

    The pictures are in memory: this is the network alone, by each way to compute it that is installed.
    """
    chosen = names or [name for name in model_names(settings) if _row(name, settings)["weights"] != _TO_DOWNLOAD]
    ways = ["tensorflow", *(["openvino"] if is_installed() and settings.precision == "float32" else [])]
    rows: list[dict[str, object]] = []
    for name in chosen:
        row: dict[str, object] = {"model": name}
        for way in ways:
            embedder = build_embedder(settings.model_copy(update={"model": name, "inference": way}))
            row[f"{way}, pictures/s"] = round(throughput(embedder, batch, seconds), 1)
        rows.append(row)
    _show(rows, as_json=as_json)


def _show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    RESULTS.print(table)


@models.command(epilog="Example:  simquery models fetch resnet50 --to /media/stick")
@click.argument("name")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Copy them there as well.")
@command
def fetch(settings: Settings, name: str, folder: Path | None) -> None:
    """Download the weights of network NAME, on a machine with internet, and check them."""
    from simquery.embedders.keras import application_embedder  # noqa: PLC0415  (TensorFlow takes seconds)

    network = _network(name)
    fingerprint = application_embedder(network, None, settings.weights_dir).fingerprint
    file = find_weights(network, settings.weights_dir)
    if file is None:
        raise WeightsError(f"Keras loaded the weights of '{network.name}', but did not keep them in its cache.")
    say(f"'{network.name}' is here: '{file}', fingerprint {fingerprint}")
    if folder is not None:
        say(f"Copied to '{export_weights(network, file, fingerprint, folder)}'")


@models.command(epilog="Example:  simquery models add resnet50 /media/stick/resnet50.weights.h5")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--fingerprint", help="What 'fetch' printed; by default what it wrote beside the file.")
@command
def add(settings: Settings, name: str, file: Path, fingerprint: str | None) -> None:
    """Take over the weights of network NAME from FILE, as brought from another machine, and check them."""
    from simquery.embedders.keras import application_embedder  # noqa: PLC0415  (TensorFlow takes seconds)

    network = _network(name)
    found = application_embedder(network, None, None, file).fingerprint
    expected = fingerprint or stated_fingerprint(file)
    if expected is not None and found != expected:
        raise WeightsError(f"'{file}' holds other weights than were fetched: fingerprint {found}, not {expected}.")
    target = import_weights(network, file, settings.weights_dir)
    checked = "as fetched" if expected else "not compared with anything: give --fingerprint"
    say(f"'{network.name}' is here now: '{target}', fingerprint {found} ({checked})")


def _fingerprint(row: Mapping[str, object], settings: Settings) -> str | None:
    if row["weights"] == _TO_DOWNLOAD:
        return None
    return build_embedder(settings.model_copy(update={"model": row["model"]})).fingerprint


def _network(name: str) -> Network:
    network = NETWORKS.get(name.lower())
    if network is None:
        raise UnknownModelError(f"'{name}' has no weights to fetch or add. These have: {', '.join(NETWORKS)}.")
    return network


def _row(name: str, settings: Settings) -> dict[str, object]:
    if name in settings.embedders:
        return _facts(name, settings.embedders[name])
    if name == "mini":
        return _facts(name, "part of simquery")
    network = NETWORKS.get(name)
    if network is None:
        return _facts(name, "an installed package")
    file = find_weights(network, settings.weights_dir)
    return _facts(name, str(file) if file else _TO_DOWNLOAD, network)


def _facts(name: str, weights: str, network: Network | None = None) -> dict[str, object]:
    return {
        "model": name,
        "layer": network.layer if network else None,
        "dims": network.dims if network else None,
        "input": f"{network.side} x {network.side}" if network else None,
        "weights": weights,
    }
