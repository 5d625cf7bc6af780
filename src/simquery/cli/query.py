"""``simquery query``: rank the pictures of a case by similarity to reference pictures."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from simquery.case import open_case
from simquery.cli.filters import filter_options
from simquery.cli.options import case_option, command, json_option, model_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.distances import DISTANCES
from simquery.errors import SettingsError
from simquery.query import FORMATS, Augmentation, Combine, Mode, Ranking, ranking_table
from simquery.settings import Settings

__all__ = ["query"]

_EPILOG = """\b
Example:  simquery query suspect.jpg --distance modified -k 100 --sheet hits.png
          simquery query a.jpg b.jpg --combine min --not c.jpg --since 2019 --camera nikon
          simquery query suspect.jpg --all --output csv > ranking.csv"""


@click.command(epilog=_EPILOG)
@click.argument("images", nargs=-1, metavar="IMAGE...")
@case_option
@model_option
@click.option(
    "--from", "list_file", type=click.File(), help="Read references from this file, one per line; - is stdin."
)
@click.option(
    "--not", "rejected", multiple=True, metavar="IMAGE", help="Picture that hits should not look like; repeatable."
)
@click.option(
    "--combine",
    type=click.Choice([str(combine) for combine in Combine]),
    default=str(Combine.SUM),
    show_default=True,
    help="How to combine several references: by their distances, or by the mean of their features.",
)
@click.option("--augment", metavar="NAMES", help="Also search for variants of IMAGE: flip,rotate,grey,crop, or all.")
@click.option(
    "--distance", default="cosine", show_default=True, metavar="NAME", help=f"One of {', '.join(DISTANCES)}, l2, l1."
)
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    default=str(Mode.AUTO),
    show_default=True,
    help="exact scores every picture; auto is exact up to SIMQUERY_EXACT_UP_TO pictures.",
)
@click.option("--candidates", type=int, help="Number of candidates for each reference of an approximate query.")
@click.option("-k", type=click.IntRange(1), default=50, show_default=True, help="Number of hits.")
@click.option("--all", "everything", is_flag=True, help="Rank all pictures.")
@click.option(
    "--within", type=float, metavar="DISTANCE", help="Only hits up to this distance; all such hits unless -k is given."
)
@filter_options
@click.option(
    "--output",
    type=click.Choice(["table", "json", *FORMATS]),
    default="table",
    show_default=True,
    help="Format of the output; jsonl, csv and trec are written while hits come in.",
)
@click.option(
    "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the hits as one picture, in this file."
)
@click.option("--save", is_flag=True, help="Save the hits with thumbnails for Kibana, and print the link.")
@click.option("--note", help="Remark to save with the query.")
@click.option("--blur", is_flag=True, help="Save blurred thumbnails only.")
@json_option
@command
def query(
    settings: Settings,
    *,
    images: tuple[str, ...],
    list_file: Iterable[str] | None,
    augment: str | None,
    k: int,
    everything: bool,
    within: float | None,
    filters: dict[str, Any],
    output: str,
    sheet: Path | None,
    save: bool,
    note: str | None,
    blur: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank the pictures of a case by their similarity to reference pictures.

    IMAGE is a file, or the SHA-256 of a picture of the case; several of them make one query. A reference that is
    already in the case needs no network.
    """
    references = [*images, *_listed(list_file)]
    if not references:
        raise click.UsageError("Give at least one reference picture IMAGE.")
    if sheet is not None and os.path.lexists(sheet):
        raise SettingsError(f"'{sheet}' already exists and is not overwritten: give another file for --sheet.")
    if (note is not None or blur) and not save:
        raise click.UsageError("--note and --blur only work with --save.")
    k_given = click.get_current_context().get_parameter_source("k") is click.core.ParameterSource.COMMANDLINE
    if everything and k_given:
        raise click.UsageError("Give either -k or --all, not both.")
    limit = None if everything or (within is not None and not k_given) else k
    with open_case(settings=settings) as case:
        request = case.prepare(*references, k=limit, within=within, augment=_names(augment), **filters, **options)
        if not as_json and output in FORMATS and sheet is None and not save:
            for line in FORMATS[output](request, case.hits(request)):
                click.echo(line)
            return
        ranking = case.rank(request)
        saved = case.save(ranking, note=note, blur=blur) if save else None
    if saved is not None:
        from simquery.kibana import dashboard_link  # noqa: PLC0415  (most queries are not saved)

        say(f"Saved as {saved.query}: {dashboard_link(settings.kibana_url, saved.query)}")
    _show(ranking, "json" if as_json else output)
    if sheet is not None:
        _draw(ranking, sheet)
    if saved is not None and saved.without_thumbnail:
        say(f"{saved.without_thumbnail} pictures can no longer be read and have no thumbnail.")


def _listed(file: Iterable[str] | None) -> list[str]:
    lines = (line.strip() for line in file or ())
    return [line for line in lines if line and not line.startswith("#")]


def _names(augment: str | None) -> list[str]:
    if augment == "all":
        return [*Augmentation]
    return [] if augment is None else [name.strip() for name in augment.split(",")]


def _show(ranking: Ranking, output: str) -> None:
    if output == "json":
        print_json(ranking.as_dict())
    elif output in FORMATS:
        sys.stdout.writelines(f"{line}\n" for line in FORMATS[output](ranking.query, ranking.hits))
    else:
        RESULTS.print(ranking_table(ranking))
    if not ranking.hits:
        say("No picture of the case matches: check the filters and --within.")
    size = ranking.collection_size
    if ranking.query.k and ranking.query.k > size:
        say(f"The case has only {size:,} pictures; all are shown.")


def _draw(ranking: Ranking, sheet: Path) -> None:
    from PIL import Image  # noqa: PLC0415  (most queries draw nothing)

    from simquery.query import contact_sheet  # noqa: PLC0415

    try:
        with sheet.open("xb") as file:
            contact_sheet(ranking).save(file, Image.registered_extensions().get(sheet.suffix.lower(), "PNG"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"The sheet '{sheet}' cannot be written: {error}.") from None
    say(f"Drew the hits in '{sheet}'.")
