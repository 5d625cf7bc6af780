"""``simquery recall``: measure what approximate queries miss in a case, and how much faster they are."""

import click
from rich import box
from rich.table import Table

from simquery.case import open_case
from simquery.cli.options import case_option, command, json_option, model_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.cli.progress import progress_bar
from simquery.errors import QueryError
from simquery.query.approximation import RecallReport
from simquery.settings import Settings

__all__ = ["recall"]

_CANDIDATES = "50,100,250,500,1000"


@click.command(epilog="Example:  simquery recall --case fraud-7 --distance modified --store 0.99")
@case_option
@model_option
@click.option(
    "--distance",
    "distances",
    multiple=True,
    metavar="NAME",
    help="Distance to measure; repeatable.  [default: the distances that the case's graph serves]",
)
@click.option("-k", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Number of hits to compare.")
@click.option("--candidates", default=_CANDIDATES, show_default=True, metavar="NUMBERS", help="Numbers of candidates.")
@click.option("--sample", type=click.IntRange(1), default=50, show_default=True, help="Number of references.")
@click.option(
    "--store", type=click.FloatRange(0, 1), metavar="SHARE", help="Store the smallest number that reaches this recall."
)
@json_option
@command
def recall(
    settings: Settings,
    *,
    distances: tuple[str, ...],
    k: int,
    candidates: str,
    sample: int,
    store: float | None,
    as_json: bool,
) -> None:
    """Measure the recall of approximate queries on this case, and how much time they save.

    Recall is the share of the exact ranking that an approximate query returns. The references are pictures of the case
    itself, always the same ones. With --store, the case stores how many candidates each distance needs to reach that
    recall.
    """
    numbers = _numbers(candidates)
    with open_case(settings=settings) as case, progress_bar("references") as show:
        report = case.recall(
            distances,
            k=k,
            candidates=numbers,
            sample=sample,
            store=store,
            progress=lambda done, total: show("Measuring recall", done, total),
        )
    if as_json:
        print_json(report.as_dict())
    else:
        RESULTS.print(_table(report))
    for name, number in report.chosen.items():
        say(
            f"{name}: no number of candidates reaches {store}; nothing is stored."
            if number is None
            else f"{name}: {number} candidates are stored with the case."
        )


def _table(report: RecallReport) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, caption=f"{report.references} references, k = {report.k}", caption_justify="left"
    )
    for column in ("distance", "candidates", "recall", "least recall", "approximate ms", "exact ms", "ratio"):
        table.add_column(column, justify="left" if column == "distance" else "right")
    for name, rows in report.recall.items():
        for row in rows:
            cells = [f"{row.recall:.4f}", f"{row.least:.4f}", f"{row.approximate_ms:.1f}", f"{row.exact_ms:.1f}"]
            table.add_row(name, f"{row.candidates:,}", *cells, f"{row.approximate_ms / row.exact_ms:.2f}")
    return table


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise QueryError(f"'{text}' is not a list of numbers such as {_CANDIDATES}.") from None
