"""``simquery models``: which networks there are."""

import json

import click
from rich import box
from rich.table import Table

from simquery.cli.options import OUTPUT, command, json_option
from simquery.embedders import model_names
from simquery.embedders.networks import NETWORKS
from simquery.embedders.weights import find_weights
from simquery.settings import Settings

__all__ = ["models"]


@click.command(epilog="Example:  simquery models")
@json_option
@command
def models(settings: Settings, *, as_json: bool) -> None:
    """List the networks, where each is cut, and whether its weights are on this machine."""
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


def _row(name: str, settings: Settings) -> dict[str, object]:
    network = NETWORKS.get(name)
    if network is None or name in settings.embedders:
        return {
            "model": name,
            "layer": None,
            "dims": None,
            "input": None,
            "weights": settings.embedders.get(name, "own"),
        }
    file = find_weights(network, settings.weights_dir)
    return {
        "model": name,
        "layer": network.layer,
        "dims": network.dims,
        "input": f"{network.side} x {network.side}",
        "weights": str(file) if file else "to be downloaded",
    }
