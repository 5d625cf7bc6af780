"""``simquery query``: rank a case by example."""

import json
import os
from pathlib import Path

import click
from PIL import Image

from simquery.cli.options import OUTPUT, command, json_option, open_cluster, say
from simquery.distances import DISTANCES, Distance
from simquery.embedders import build_embedder, check_model_name
from simquery.errors import SettingsError
from simquery.query import MAX_REFERENCES, Ranking, Searcher, contact_sheet, ranking_table
from simquery.settings import Settings

__all__ = ["query"]

_NAMES = {name: distance for distance in DISTANCES.values() for name in (distance.name, *distance.aliases)}


@click.command(epilog="Example:  simquery query suspect.jpg --distance modified -k 100 --sheet hits.png")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "--distance", type=click.Choice(list(_NAMES)), default="cosine", show_default=True, help="What compares vectors."
)
@click.option("-k", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many hits.")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the hits into this picture.")
@json_option
@command
def query(
    settings: Settings, images: tuple[Path, ...], distance: str, k: int, sheet: Path | None, *, as_json: bool
) -> None:
    """Rank the pictures of a case by their similarity to IMAGE; several of them make one query.

    Every picture is scored (exact search), so the same query gives the same list. A reference that is in the case
    already needs no network.
    """
    if sheet is not None and os.path.lexists(sheet):
        raise SettingsError(f"'{sheet}' exists already, and nothing is overwritten: name another file for the sheet.")
    ranking = _rank(settings, images, _NAMES[distance], k)
    if as_json:
        click.echo(json.dumps(ranking.as_dict(), indent=2))
    else:
        OUTPUT.print(ranking_table(ranking))
    if sheet is not None:
        _save(ranking, sheet)


def _rank(settings: Settings, images: tuple[Path, ...], distance: Distance, k: int) -> Ranking:
    if len(images) > MAX_REFERENCES:
        raise SettingsError(f"{len(images)} references are too many for one query: give at most {MAX_REFERENCES}.")
    model = check_model_name(settings.model, settings)
    with open_cluster(settings) as client:
        searcher = Searcher(client, settings.case, model, lambda: build_embedder(settings))
        return searcher.rank([searcher.reference(image) for image in images], distance, k)


def _save(ranking: Ranking, sheet: Path) -> None:
    try:
        with sheet.open("xb") as file:
            contact_sheet(ranking).save(file, Image.registered_extensions().get(sheet.suffix.lower(), "PNG"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"The sheet '{sheet}' cannot be written: {error}.") from None
    say(f"Drawn into '{sheet}'.")
