"""``simquery kibana install | objects``: install the dashboards in Kibana, or print them."""

import click
from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from simquery.cli.options import command
from simquery.cli.output import say
from simquery.errors import SettingsError
from simquery.kibana import Kibana, as_ndjson, saved_objects
from simquery.settings import Settings

__all__ = ["kibana"]


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
    and SIMQUERY_PASSWORD, or SIMQUERY_API_KEY; SIMQUERY_CA_FILE). An address that ends in /s/NAME also names a space;
    if the setting kibana_url does, the links that 'simquery query --save' prints lead to that space.
    """
    address = settings.kibana_url if url is None else _address(url)
    with Kibana(address, settings, space) as connection:
        objects = saved_objects(connection.space)
        connection.ensure_space()
        connection.install(objects)
    dashboards = [each["attributes"]["title"] for each in objects if each["type"] == "dashboard"]
    say(f"Installed {len(objects)} saved objects in {connection.address}: {', '.join(dashboards)}")


@kibana.command(epilog="Example:  simquery kibana objects > simquery.ndjson")
@command
def objects(settings: Settings) -> None:  # noqa: ARG001
    """Print the saved objects as NDJSON, for import into Kibana by hand (Stack Management, Saved Objects)."""
    click.echo(as_ndjson(saved_objects()), nl=False)


def _address(url: str) -> AnyHttpUrl:
    try:
        return TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValidationError:
        raise SettingsError(f"--url: '{url}' is not an address such as http://127.0.0.1:5601.") from None
