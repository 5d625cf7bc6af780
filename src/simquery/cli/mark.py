"""``simquery mark``: record an analyst's verdicts on the hits of a saved query."""

import re
from collections.abc import Iterable

import click
from rich import box
from rich.table import Table
from rich.text import Text

from simquery.case import open_case
from simquery.cli.options import command, json_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.query.marks import Review, Verdict
from simquery.settings import Settings

__all__ = ["mark"]

_EPILOG = """\b
Example:  simquery mark 20260504T100000-3fa92c 1 2 7-12 --as relevant --note 'the same kitchen'
          simquery mark 20260504T100000-3fa92c"""


def _ranks(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[int]:
    """Return every rank of values such as ``3`` and ``7-12``."""
    return sorted({rank for value in values for rank in _range(value)})


def _range(text: str) -> Iterable[int]:
    found = re.fullmatch(r"([1-9]\d{0,5})(?:-([1-9]\d{0,5}))?", text)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise click.BadParameter(f"'{text}' is neither a rank, such as 3, nor a range of ranks, such as 7-12.")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


@click.command(epilog=_EPILOG)
@click.argument("query")
@click.argument("ranks", nargs=-1, metavar="[RANK...]", callback=_ranks)
@click.option("--as", "verdict", type=click.Choice([str(each) for each in Verdict]), help="Verdict on these hits.")
@click.option("--note", help="Reason for the verdict.")
@json_option
@command
def mark(
    settings: Settings, query: str, ranks: list[int], *, verdict: str | None, note: str | None, as_json: bool
) -> None:
    """Mark hits of a saved QUERY as relevant, irrelevant or for review, or list its marks.

    Marks are never changed or removed. Marking a hit again adds a mark; the latest one counts. Each mark records the
    time, the cluster's user, and the account and machine that ran the command.
    """
    if bool(ranks) != bool(verdict):
        raise click.UsageError("To mark hits, give their ranks and --as; to list the marks, give neither.")
    if note is not None and not verdict:
        raise click.UsageError("--note only works with ranks and --as.")
    with open_case(settings=settings) as case:
        review = case.mark(query, ranks, verdict, note=note) if verdict else case.review(query)
    if as_json:
        print_json(review.as_dict())
    elif not verdict:
        RESULTS.print(_table(review))
    say(_described(review))


def _table(review: Review) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption=Text(review.title), caption_justify="left")
    for name in ("rank", "mark", "at", "by", "account", "note"):
        table.add_column(name, justify="right" if name == "rank" else "left")
    current = review.current
    for each in review.marks:
        cells = (str(each.rank), each.mark, each.at, each.by or "", each.account, each.note or "")
        style = "" if each is current[each.rank] else "strike"  # replaced by a later mark
        table.add_row(*(Text(cell, style) for cell in cells))
    return table


def _described(review: Review) -> str:
    counts = review.counts
    share = "" if review.precision is None else f", precision so far {review.precision:.3f}"
    return (
        f"{review.reviewed:,} of {review.to_review:,} hits reviewed: {counts[Verdict.RELEVANT]:,} relevant,"
        f" {counts[Verdict.IRRELEVANT]:,} irrelevant{share}; {counts[Verdict.REVIEW]:,} for review."
    )
