"""``simquery recall``: what approximate queries lose on this case, and what they gain."""

import json

import click
from rich import box
from rich.progress import Progress
from rich.table import Table

from simquery.cli.options import OUTPUT, TO_PEOPLE, command, json_option, open_cluster, say
from simquery.distances import DISTANCES, find_distance
from simquery.embedders import build_embedder, check_model_name
from simquery.errors import QueryError
from simquery.mappings import store_candidates
from simquery.query import Searcher
from simquery.query.approximation import Approximation, measure_recall, sampled_references, sufficient
from simquery.settings import Settings

__all__ = ["recall"]

_CANDIDATES = "50,100,250,500,1000"


@click.command(epilog="Example:  simquery recall --case fraud-7 --distance modified --store 0.99")
@click.option(
    "--distance",
    "names",
    multiple=True,
    metavar="NAME",
    help="Distance to measure, may be repeated.  [default: those that the case's graph serves]",
)
@click.option("-k", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many hits are compared.")
@click.option("--candidates", default=_CANDIDATES, show_default=True, metavar="NUMBERS", help="What to try.")
@click.option(
    "--sample", type=click.IntRange(1), default=50, show_default=True, help="How many pictures are references."
)
@click.option("--store", type=click.FloatRange(0, 1), metavar="SHARE", help="Keep the least that reaches this recall.")
@json_option
@command
def recall(
    settings: Settings,
    *,
    names: tuple[str, ...],
    k: int,
    candidates: str,
    sample: int,
    store: float | None,
    as_json: bool,
) -> None:
    """Measure what share of the exact ranking an approximate query returns on this case, and how long both take.

    References are pictures of the case itself, always the same ones. With --store the case remembers how many
    candidates each distance needs.
    """
    model = check_model_name(settings.model, settings)
    numbers = sorted({max(k, number) for number in _numbers(candidates)})
    with open_cluster(settings) as client:
        searcher = Searcher(client, settings.case, model, lambda: build_embedder(settings))
        graph = searcher.embedding.similarity
        distances = [find_distance(name) for name in names] or [d for d in DISTANCES.values() if d.graph == graph]
        references = sampled_references(client, searcher, sample)
        found: dict[str, list[Approximation]] = {}
        with Progress(console=TO_PEOPLE, transient=True) as progress:
            task = progress.add_task("references", total=len(distances) * len(references))
            for distance in distances:
                found[distance.name] = measure_recall(
                    searcher,
                    references,
                    distance,
                    k=k,
                    candidates=numbers,
                    progress=lambda: progress.advance(task),
                )
        chosen = {name: sufficient(rows, store) for name, rows in found.items()} if store is not None else {}
        reached = {name: number for name, number in chosen.items() if number is not None}
        if reached:
            store_candidates(client, settings.case, model, reached)
    if as_json:
        rows = {name: [row.as_dict() for row in rows] for name, rows in found.items()}
        click.echo(json.dumps({"k": k, "references": len(references), "recall": rows, "stored": reached}, indent=2))
    else:
        _print(found, k, len(references))
    for name, number in chosen.items():
        say(
            f"{name}: {number} candidates are stored with the case."
            if number is not None
            else f"{name}: no number of candidates reaches {store}; nothing is stored."
        )


def _print(found: dict[str, list[Approximation]], k: int, references: int) -> None:
    table = Table(box=box.SIMPLE_HEAD, caption=f"{references} references, k = {k}", caption_justify="left")
    for column in ("distance", "candidates", "recall", "least recall", "approximate ms", "exact ms", "ratio"):
        table.add_column(column, justify="left" if column == "distance" else "right")
    for name, rows in found.items():
        for row in rows:
            cells = [f"{row.recall:.4f}", f"{row.least:.4f}", f"{row.approximate_ms:.1f}", f"{row.exact_ms:.1f}"]
            table.add_row(name, f"{row.candidates:,}", *cells, f"{row.approximate_ms / row.exact_ms:.2f}")
    OUTPUT.print(table)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise QueryError(f"'{text}' are no numbers of candidates: give some like {_CANDIDATES}.") from None
