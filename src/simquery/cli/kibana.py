"""``simquery kibana install | objects``: install the dashboards in Kibana, or print them."""

import click
from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from simquery.cli.options import command
from simquery.cli.output import say
from simquery.errors import SettingsError
from simquery.kibana import Kibana, as_ndjson, saved_objects
from simquery.node import LocalNode
from simquery.settings import Settings

__all__ = ["kibana"]

_LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}


@click.group(epilog="Example:  simquery kibana install --url https://kibana.lab:5601")
def kibana() -> None:
    """Install or print the Kibana dashboards: results, evidence, indexing, evaluation."""


@kibana.command(epilog="Example:  simquery kibana install --url http://127.0.0.1:5601 --space fraud-7")
@click.option("--url", help="Address of Kibana.  [default: the setting kibana_url]")
@click.option("--space", help="Kibana space to install into; created if it does not exist.")
@command
def install(settings: Settings, url: str | None, space: str | None) -> None:
    """Install the dashboards and everything they need, or bring them up to date.

    Running it again changes nothing. Credentials and certificate authority are those of the cluster (SIMQUERY_USERNAME
    and SIMQUERY_PASSWORD, or SIMQUERY_API_KEY; SIMQUERY_CA_FILE). Without any, and without SIMQUERY_URL, it logs in as
    the administrator of the local node, but only at an https or loopback address. An address that ends in /s/NAME
    also names a space; if the setting kibana_url does, the links that 'simquery query --save' prints lead to that
    space.
    """
    address = settings.kibana_url if url is None else _address(url)
    with Kibana(address, _login(settings, address), space) as connection:
        objects = saved_objects(connection.space)
        connection.ensure_space()
        connection.install(objects)
        connection.check(objects)
    dashboards = [each["attributes"]["title"] for each in objects if each["type"] == "dashboard"]
    say(f"Installed {len(objects)} saved objects in {connection.address}: {', '.join(dashboards)}")


@kibana.command(epilog="Example:  simquery kibana objects > simquery.ndjson")
@command
def objects(settings: Settings) -> None:  # noqa: ARG001
    """Print the saved objects as NDJSON, for import into Kibana by hand (Stack Management, Saved Objects)."""
    click.echo(as_ndjson(saved_objects()), nl=False)


def _login(settings: Settings, address: AnyHttpUrl) -> Settings:
    """Return settings with credentials: those given, or else the local node's administrator."""
    if settings.url is not None or settings.api_key or settings.username:
        return settings
    if address.scheme != "https" and address.host not in _LOOPBACK:
        raise SettingsError(
            f"{address} is neither https nor on this machine, so the password of the local node is not sent there: set"
            " SIMQUERY_API_KEY, or SIMQUERY_USERNAME and SIMQUERY_PASSWORD."
        )
    # Kibana's certificate is not the node's.
    return LocalNode(settings).administration().model_copy(update={"ca_file": settings.ca_file})


def _address(url: str) -> AnyHttpUrl:
    try:
        return TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValidationError:
        raise SettingsError(f"--url: '{url}' is not an address such as http://127.0.0.1:5601.") from None
