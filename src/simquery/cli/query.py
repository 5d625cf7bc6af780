"""``simquery query``: rank a case by example."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click
from elasticsearch import Elasticsearch

from simquery.cli.filters import filter_options
from simquery.cli.options import OUTPUT, command, json_option, open_cluster, say
from simquery.distances import DISTANCES, find_distance
from simquery.embedders import check_model_name
from simquery.embedders.service import warm_embedder
from simquery.errors import QueryError, SettingsError
from simquery.query import (
    FORMATS,
    MAX_VECTORS,
    Augmentation,
    Combine,
    Filters,
    Mode,
    Query,
    Ranking,
    Searcher,
    contact_sheet,
    ranking_table,
)
from simquery.settings import Settings

__all__ = ["query"]

_EPILOG = """\b
Example:  simquery query suspect.jpg --distance modified -k 100 --sheet hits.png
          simquery query a.jpg b.jpg --combine min --not c.jpg --since 2019 --camera nikon
          simquery query suspect.jpg --all --output csv > ranking.csv"""


@click.command(epilog=_EPILOG)
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--from", "list_file", type=click.File(), help="File with one reference a line; - reads stdin.")
@click.option("--not", "rejected", multiple=True, metavar="IMAGE", help="A picture that hits should not look like.")
@click.option(
    "--combine",
    type=click.Choice([str(combine) for combine in Combine]),
    default=str(Combine.SUM),
    show_default=True,
    help="How several references count: their distances, or the mean of their features.",
)
@click.option("--augment", metavar="NAMES", help="Also look for variants of IMAGE: flip,rotate,grey,crop, or all.")
@click.option(
    "--distance", default="cosine", show_default=True, metavar="NAME", help=f"One of {', '.join(DISTANCES)}, l2, l1."
)
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    default=str(Mode.AUTO),
    show_default=True,
    help="exact scores every picture; auto does so up to SIMQUERY_EXACT_UP_TO pictures.",
)
@click.option("--candidates", type=int, help="How many candidates each reference brings into an approximate query.")
@click.option("-k", type=click.IntRange(1), default=50, show_default=True, help="How many hits.")
@click.option("--all", "everything", is_flag=True, help="All pictures, in the order of their distance.")
@click.option(
    "--within", type=float, metavar="DISTANCE", help="Only hits up to this distance; all, unless -k is given."
)
@filter_options
@click.option(
    "--output",
    type=click.Choice(["table", "json", *FORMATS]),
    default="table",
    show_default=True,
    help="jsonl, csv and trec are written as hits come in.",
)
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the hits into this picture.")
@click.option("--save", is_flag=True, help="Keep the hits with thumbnails for Kibana, and print the link.")
@click.option("--note", help="What to remember about a saved query.")
@click.option("--blur", is_flag=True, help="Save blurred thumbnails only.")
@json_option
@command
@click.pass_context
def query(
    context: click.Context,
    settings: Settings,
    *,
    images: tuple[str, ...],
    list_file: Iterable[str] | None,
    rejected: tuple[str, ...],
    combine: str,
    augment: str | None,
    distance: str,
    mode: str,
    candidates: int | None,
    k: int,
    everything: bool,
    within: float | None,
    filters: Filters,
    output: str,
    sheet: Path | None,
    save: bool,
    note: str | None,
    blur: bool,
    as_json: bool,
) -> None:
    """Rank the pictures of a case by their similarity to IMAGE; several of them make one query.

    IMAGE is a file, or the SHA-256 of a picture of the case. A reference that is in the case already needs no network.
    """
    references = [*images, *_listed(list_file)]
    if not references:
        raise click.UsageError("Name a reference picture.")
    if sheet is not None and os.path.lexists(sheet):
        raise SettingsError(f"'{sheet}' exists already, and nothing is overwritten: name another file for the sheet.")
    if (note is not None or blur) and not save:
        raise click.UsageError("--note and --blur are about a query that is saved: add --save.")
    k_given = context.get_parameter_source("k") is click.core.ParameterSource.COMMANDLINE
    if everything and k_given:
        raise click.UsageError("-k and --all exclude each other.")
    if len(references) + len(rejected) > MAX_VECTORS and combine != Combine.FEATURES:
        raise QueryError(
            f"{len(references)} references are too many for one query: at most {MAX_VECTORS} are possible."
        )
    compared_by = find_distance(distance)
    filters.clauses()  # what is wrong with them shows before anything is embedded
    augmentations = _augmentations(augment)
    model = check_model_name(settings.model, settings)
    with open_cluster(settings) as client:
        searcher = Searcher(
            client, settings.case, model, lambda: warm_embedder(settings), exact_up_to=settings.exact_up_to
        )
        request = Query(
            tuple(searcher.reference(name, augmentations) for name in references),
            compared_by,
            None if everything or (within is not None and not k_given) else k,
            Combine(combine),
            tuple(searcher.reference(name) for name in rejected),
            filters,
            within,
            Mode(mode),
            candidates,
        )
        if not as_json and output in FORMATS and sheet is None and not save:
            for line in FORMATS[output](request, searcher.hits(request)):
                click.echo(line)
            return
        ranking = searcher.rank(request)
        without_thumbnail = _save(client, ranking, settings, note=note, blur=blur) if save else 0
    _show(ranking, "json" if as_json else output)
    if sheet is not None:
        _draw(ranking, sheet)
    if without_thumbnail:
        say(f"{without_thumbnail} pictures can no longer be read and have no thumbnail.")


def _listed(file: Iterable[str] | None) -> list[str]:
    lines = (line.strip() for line in file or ())
    return [line for line in lines if line and not line.startswith("#")]


def _augmentations(names: str | None) -> list[Augmentation]:
    if names is None:
        return []
    if names == "all":
        return list(Augmentation)
    try:
        return [Augmentation(name.strip()) for name in names.split(",")]
    except ValueError:
        raise QueryError(f"'{names}' are no variants: name some of {', '.join(Augmentation)}, or all.") from None


def _show(ranking: Ranking, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(ranking.as_dict(), indent=2))
    elif output in FORMATS:
        sys.stdout.writelines(f"{line}\n" for line in FORMATS[output](ranking.query, ranking.hits))
    else:
        OUTPUT.print(ranking_table(ranking))
    if not ranking.hits:
        say("No picture of the case matches: look at the filters and the distance.")
    size = ranking.collection_size
    if ranking.query.k and ranking.query.k > size:
        say(f"All {size:,} pictures of the case are shown: there are no {ranking.query.k:,}.")


def _save(client: Elasticsearch, ranking: Ranking, settings: Settings, *, note: str | None, blur: bool) -> int:
    from simquery.kibana import dashboard_link  # noqa: PLC0415  (most queries are not saved)
    from simquery.query.results import save_ranking  # noqa: PLC0415

    saved = save_ranking(client, ranking, note=note, blur=blur)
    say(f"Saved as {saved.query}: {dashboard_link(settings.kibana_url, saved.query)}")
    return saved.without_thumbnail


def _draw(ranking: Ranking, sheet: Path) -> None:
    from PIL import Image  # noqa: PLC0415  (most queries draw nothing)

    try:
        with sheet.open("xb") as file:
            contact_sheet(ranking).save(file, Image.registered_extensions().get(sheet.suffix.lower(), "PNG"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"The sheet '{sheet}' cannot be written: {error}.") from None
    say(f"Drawn into '{sheet}'.")
