"""``simquery models list | fetch | add``: which networks there are, and how their weights get onto a machine."""

import json
from pathlib import Path

import click
from rich import box
from rich.table import Table

from simquery.cli.options import OUTPUT, command, json_option, say
from simquery.embedders import model_names
from simquery.embedders.networks import NETWORKS, Network
from simquery.embedders.weights import export_weights, find_weights, import_weights, stated_fingerprint
from simquery.errors import UnknownModelError, WeightsError
from simquery.settings import Settings

__all__ = ["models"]


@click.group(epilog="Example:  simquery models list")
def models() -> None:
    """Networks: which there are, and how to bring their weights to a machine without internet."""


@models.command("list", epilog="Example:  simquery models list")
@json_option
@command
def list_models(settings: Settings, *, as_json: bool) -> None:
    """List the networks, where each is cut, and where its weights are."""
    rows = [_row(name, settings) for name in model_names(settings)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    OUTPUT.print(table)


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
    return _facts(name, str(file) if file else "to be downloaded", network)


def _facts(name: str, weights: str, network: Network | None = None) -> dict[str, object]:
    return {
        "model": name,
        "layer": network.layer if network else None,
        "dims": network.dims if network else None,
        "input": f"{network.side} x {network.side}" if network else None,
        "weights": weights,
    }
