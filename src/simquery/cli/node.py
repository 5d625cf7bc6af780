"""``simquery up | down | status``: start, stop and show the local node or the cluster in the settings."""

import dataclasses

import click
from rich.table import Table

from simquery.cli.options import command, json_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.connection import open_cluster
from simquery.embedders.service import stop_services
from simquery.mappings import install_templates
from simquery.node import LocalNode
from simquery.settings import Settings
from simquery.status import ClusterStatus, cluster_status

__all__ = ["down", "status", "up"]


@click.command(epilog="Example:  simquery up")
@command
def up(settings: Settings) -> None:
    """Start Elasticsearch on this machine; download it first if necessary.

    If SIMQUERY_URL is set, check and use the cluster there instead. Install the index templates in either case.
    """
    if settings.url is None:
        LocalNode(settings).up(say)
    with open_cluster(settings, as_administrator=True) as client:
        install_templates(client)
        say(f"Ready: {client.transport.node_pool.get().base_url}")


@click.command(epilog="Example:  simquery down")
@command
def down(settings: Settings) -> None:
    """Stop the local node (its data is kept) and any warm models."""
    services = stop_services(settings)
    if services:
        say(f"Warm models stopped: {services}.")
    stopped = LocalNode(settings).down()
    say("Stopped; the data is kept." if stopped else "The local node was not running.")


@click.command(epilog="Example:  simquery status --json")
@json_option
@command
def status(settings: Settings, *, as_json: bool) -> None:
    """Show the cluster in use, and the cases in it."""
    found = cluster_status(settings)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _document(found: ClusterStatus) -> dict[str, object]:
    return {
        "cluster": found.cluster,
        "running": found.running,
        **found.facts,
        "cases": [dataclasses.asdict(model) for case in found.cases for model in case.models],
        "files": {case.case: {**case.files, "gone": case.gone} for case in found.cases},
        "networks": [dataclasses.asdict(network) for network in found.networks],
    }


def _print(found: ClusterStatus) -> None:
    facts = Table.grid(padding=(0, 2))
    for name, value in {"cluster": found.cluster, "running": found.running, **found.facts}.items():
        if value is not None:
            facts.add_row(name.replace("_", " "), str(value))
    RESULTS.print(facts, highlight=False, markup=False)
    lines = [
        f"warm model {each.model}: process {each.pid}, {each.age:.0f} s old, {each.answered} requests answered"
        for each in found.networks
    ]
    for case in found.cases:
        lines += [f"case {case.case}, {model.model}: {model.pictures:,} pictures" for model in case.models]
        files = ", ".join(f"{count:,} {status}" for status, count in sorted(case.files.items()))
        lines.append(f"case {case.case}, files: {files or 'none'}; {case.gone:,} gone")
    for line in lines:
        RESULTS.print(line, highlight=False, markup=False)
