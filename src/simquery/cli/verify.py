"""``simquery verify``: whether the case holds everything that is on disk."""

import dataclasses
import json
from pathlib import Path

import click
from rich import box
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from simquery.cli.options import OUTPUT, TO_PEOPLE, command, json_option, open_cluster
from simquery.errors import VerificationError
from simquery.indexer import Report, Status, Verifier, check_folders
from simquery.settings import Settings

__all__ = ["verify"]


@click.command(epilog="Example:  simquery verify /mnt/evidence --case fraud-7 --rehash")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rehash", is_flag=True, help="Read every file again and compare its SHA-256.")
@json_option
@command
def verify(settings: Settings, folders: tuple[Path, ...], *, rehash: bool, as_json: bool) -> None:
    """Check that the files in FOLDER, the ledger and the documents agree.

    Everything is counted again: files, entries, documents, and the lengths and norms of their vectors. Ends with exit
    code 7 when something does not agree, each difference on a line of its own.
    """
    checked = check_folders(folders)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} looked at"))
    with open_cluster(settings) as client, Progress(*columns, console=TO_PEOPLE, transient=True) as progress:
        task = progress.add_task("")
        verifier = Verifier(client, settings.case)
        report = verifier.verify(checked, rehash=rehash, progress=lambda count: progress.update(task, completed=count))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        _print(report)
    if report.differences:
        raise VerificationError(
            f"{len(report.differences):,} differences: run 'simquery index' again, then look at what is left."
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
    OUTPUT.print(table)
    for difference in report.differences:
        OUTPUT.print(Text(f"{difference.subject}: {difference.problem}"), soft_wrap=True)
