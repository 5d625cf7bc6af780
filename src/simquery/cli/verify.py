"""``simquery verify``: check that a case agrees with the files on disk."""

import dataclasses
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from simquery.case import open_case
from simquery.cli.options import case_option, command, json_option
from simquery.cli.output import RESULTS, print_json
from simquery.cli.progress import progress_bar
from simquery.errors import VerificationError
from simquery.indexer import Report, Status
from simquery.settings import Settings

__all__ = ["verify"]


@click.command(epilog="Example:  simquery verify /mnt/evidence --case fraud-7 --rehash")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@case_option
@click.option("--rehash", is_flag=True, help="Read every file again and compare its SHA-256.")
@json_option
@command
def verify(settings: Settings, *, folders: tuple[Path, ...], rehash: bool, as_json: bool) -> None:
    """Check that the files in FOLDER, the ledger and the documents agree.

    Files, entries and documents are counted again, and the lengths and norms of the vectors checked. If anything
    disagrees, each difference is printed on its own line, and the exit code is 7.
    """
    with open_case(settings=settings) as case, progress_bar("files and documents") as show:
        report = case.verify(*folders, rehash=rehash, progress=lambda done: show("Verifying", done, None))
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _print(report)
    if report.differences:
        raise VerificationError(
            f"{len(report.differences):,} differences: run 'simquery index' again, then look into those that remain."
        )


def _print(report: Report) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("files", f"{report.files:,}")
    for status in Status:
        table.add_row(f"  {status}", f"{report.statuses[status]:,}")
    table.add_row("gone since", f"{report.gone:,}")
    for model, count in report.documents.items():
        table.add_row(f"pictures of {model}", f"{count:,}")
    table.add_row("differences", f"{len(report.differences):,}")
    RESULTS.print(table)
    for difference in report.differences:
        RESULTS.print(Text(f"{difference.subject}: {difference.problem}"), soft_wrap=True)
