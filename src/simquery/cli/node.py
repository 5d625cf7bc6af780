"""``simquery up | down | status``: the local node, or the cluster of the settings."""

import dataclasses
import json
from typing import Any

import click
from rich.table import Table

from simquery.cli.options import OUTPUT, command, json_option, open_cluster, say
from simquery.cluster import connect
from simquery.embedders.service import running_services, stop_services
from simquery.mappings import case_indices, install_templates
from simquery.node import LocalNode
from simquery.settings import Settings

__all__ = ["down", "status", "up"]


@click.command(epilog="Example:  simquery up")
@command
def up(settings: Settings) -> None:
    """Start Elasticsearch on this machine, and fetch it first where that is needed.

    With SIMQUERY_URL set, the cluster there is checked and used instead. The index templates are installed either way.
    """
    if settings.url is None:
        node = LocalNode(settings)
        node.up(say)
        settings = node.administration()
    with connect(settings) as client:
        install_templates(client)
        say(f"Ready: {client.transport.node_pool.get().base_url}")


@click.command(epilog="Example:  simquery down")
@command
def down(settings: Settings) -> None:
    """Stop the local node, whose data stays, and the networks that wait for the next query."""
    services = stop_services(settings)
    if services:
        say(f"Networks kept warm and ended: {services}.")
    stopped = LocalNode(settings).down()
    say("Stopped; the data stays." if stopped else "The local node was not running.")


@click.command(epilog="Example:  simquery status --json")
@json_option
@command
def status(settings: Settings, *, as_json: bool) -> None:
    """Show the cluster in use, and the cases in it."""
    report = _report(settings)
    if as_json:
        click.echo(json.dumps(report, indent=2, default=str))
        return
    facts = Table.grid(padding=(0, 2))
    for name, value in report.items():
        if name not in {"cases", "networks"} and value is not None:
            facts.add_row(name.replace("_", " "), str(value))
    OUTPUT.print(facts, highlight=False)
    for network in report["networks"]:
        age = f"{network['age']:.0f} s old, {network['answered']} answered"
        OUTPUT.print(f"network {network['model']} kept warm, process {network['pid']}, {age}", highlight=False)
    for case in report["cases"]:
        OUTPUT.print(f"case {case['case']}, {case['model']}: {case['pictures']:,} pictures", highlight=False)


def _report(settings: Settings) -> dict[str, Any]:
    networks = [dataclasses.asdict(service) for service in running_services(settings)]
    if settings.url is None:
        node = LocalNode(settings).status()
        report: dict[str, Any] = {"cluster": "local node", **dataclasses.asdict(node), "cases": []}
        report["networks"] = networks
        if not node.running:
            return report
    else:
        connect(settings).close()
        report = {"cluster": "settings", "running": True, "url": str(settings.url), "cases": [], "networks": networks}
    with open_cluster(settings) as client:
        report["version"] = client.info()["version"]["number"]
        report["health"] = client.cluster.health()["status"]
        report["cases"] = [
            {
                "case": meta.get("case"),
                "model": meta.get("model"),
                "pictures": client.count(index=meta["index"])["count"],
            }
            for meta in case_indices(client)
        ]
    return report
