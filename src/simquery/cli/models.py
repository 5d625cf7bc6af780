"""``simquery models list | bench | fetch | add``: list networks, measure them, and install their weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from simquery.cli.options import command, json_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.embedders.catalogue import add_weights, catalogue, fetch_weights
from simquery.embedders.catalogue import bench as bench_networks
from simquery.settings import Settings

__all__ = ["models"]


@click.group(epilog="Example:  simquery models list")
def models() -> None:
    """List networks, and bring their weights to a machine without internet."""


@models.command("list", epilog="Example:  simquery models list")
@click.option("--fingerprints", is_flag=True, help="Load the networks whose weights are here, and show fingerprints.")
@json_option
@command
def list_models(settings: Settings, *, as_json: bool, fingerprints: bool) -> None:
    """List the networks, the layer at which each is cut, and where its weights are."""
    rows = [dataclasses.asdict(entry) for entry in catalogue(settings, fingerprints=fingerprints)]
    if not fingerprints:
        rows = [{name: value for name, value in row.items() if name != "fingerprint"} for row in rows]
    _show(rows, as_json=as_json)


@models.command(epilog="Example:  simquery models bench mini mobilenetv2")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--batch", type=click.IntRange(1, 4096), default=64, show_default=True, help="Pictures per batch.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Time for each measurement."
)
@json_option
@command
def bench(settings: Settings, names: tuple[str, ...], batch: int, seconds: float, *, as_json: bool) -> None:
    """Measure how many pictures per second this machine embeds with each network NAME.

    By default, all networks whose weights are here are measured. The pictures are in memory, so this times the network
    alone; each installed inference engine is measured.
    """
    _show(bench_networks(settings, names, batch=batch, seconds=seconds), as_json=as_json)


@models.command(epilog="Example:  simquery models fetch resnet50 --to /media/stick")
@click.argument("name")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Also copy them to this folder.")
@command
def fetch(settings: Settings, name: str, folder: Path | None) -> None:
    """Download the weights of network NAME, and check them. This needs the internet."""
    weights = fetch_weights(settings, name, folder)
    say(f"Weights of '{weights.model}': '{weights.file}', fingerprint {weights.fingerprint}")
    if weights.exported is not None:
        say(f"Copied to '{weights.exported}'")


@models.command(epilog="Example:  simquery models add resnet50 /media/stick/resnet50.weights.h5")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--fingerprint", help="Fingerprint that 'fetch' printed; by default the one that it wrote beside the file."
)
@command
def add(settings: Settings, name: str, file: Path, fingerprint: str | None) -> None:
    """Check the weights of network NAME in FILE, brought from another machine, and copy them to this one."""
    weights = add_weights(settings, name, file, fingerprint)
    checked = "as fetched" if weights.compared else "not compared: give --fingerprint to compare it"
    say(f"Added weights of '{weights.model}': '{weights.file}', fingerprint {weights.fingerprint} ({checked})")


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
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    RESULTS.print(table)
