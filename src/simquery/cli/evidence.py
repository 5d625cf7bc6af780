"""``simquery index | watch``: index evidence folders into a case."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from simquery.case import open_case
from simquery.cli.options import case_option, command, json_option, model_option, precision_option
from simquery.cli.output import print_json, say
from simquery.cli.progress import progress_bar
from simquery.cli.signals import interrupted_by_sigterm, stopping
from simquery.indexer import Counts
from simquery.paths import display_path
from simquery.settings import Settings

__all__ = ["index", "watch"]

_GOES_ON = "Everything done so far is stored; run the same command again to continue."


def _partition(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    """Parse ``1/4``, the first of four parts."""
    part, _slash, parts = value.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise click.BadParameter(f"'{value}' is not a part such as 1/4, the first of four.")
    return int(part), int(parts)


def _evidence_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument for the folders, and the options for the files in them."""
    for decorate in reversed(
        (
            click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path)),
            case_option,
            model_option,
            click.option(
                "--include", multiple=True, metavar="GLOB", help="Index only files that match GLOB; repeatable."
            ),
            click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files that match GLOB; repeatable."),
            click.option(
                "--min-size",
                "min_side",
                type=click.IntRange(0),
                default=0,
                help="Skip pictures narrower or lower than this.",
            ),
            click.option("--partition", callback=_partition, default="1/1", metavar="I/N", help="Index part I of N."),
            click.option("--label-folders", is_flag=True, help="Label pictures with the name of their folder."),
            click.option("--thumbnails", is_flag=True, help="Store a small JPEG with each picture."),
            click.option(
                "--large-minutes",
                type=click.FloatRange(0),
                default=10.0,
                show_default=True,
                help="Time limit for hashing all files larger than 1 GiB; they come last.",
            ),
            click.option(
                "--record-missing",
                is_flag=True,
                help="Record missing files as gone, even if it looks as if their disk is not mounted.",
            ),
            precision_option,
        )
    ):
        function = decorate(function)
    return function


@click.command(epilog="Example:  simquery index /mnt/evidence --case fraud-7 --model mobilenetv2")
@_evidence_options
@json_option
@command
def index(
    settings: Settings, *, folders: tuple[Path, ...], partition: tuple[int, int], as_json: bool, **options: Any
) -> None:
    """Index every picture in FOLDER and its sub-folders.

    The folder is only read. Each path gets an entry in the ledger of the case. When you run the command again, or
    continue after an interruption, it looks only at files that are new or have changed, and records those that are
    gone. Several networks can share one pass: --model mobilenetv2,mini.
    """
    part, parts = partition
    started = time.monotonic()
    with open_case(settings=settings) as case, interrupted_by_sigterm(), progress_bar("files", _GOES_ON) as show:
        counts = case.index(
            *folders,
            part=part,
            parts=parts,
            progress=lambda counts, total: show(f"Indexing: {_described(counts)}", counts.seen, total),
            **options,
        )
    _summarise(counts, time.monotonic() - started, as_json=as_json)


@click.command(epilog="Example:  simquery watch /mnt/evidence --case fraud-7")
@_evidence_options
@click.option(
    "--poll",
    "poll_seconds",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="Look for changes at this interval instead of waiting for events; for network shares, which send none.",
)
@json_option
@command
def watch(
    settings: Settings, *, folders: tuple[Path, ...], partition: tuple[int, int], as_json: bool, **options: Any
) -> None:
    """Index FOLDER, then every picture that appears in it. Stop it with Ctrl-C or SIGTERM.

    Files that change are indexed again, and files that disappear are recorded as gone; nothing is ever removed from
    the case.
    """
    part, parts = partition
    names = ", ".join(f"'{display_path(folder)}'" for folder in folders)
    started = time.monotonic()
    with open_case(settings=settings) as case, progress_bar("files") as show:
        indexing = case.watch(
            *folders,
            part=part,
            parts=parts,
            progress=lambda counts: show(f"Indexing: {_described(counts)}", counts.seen, None),
            **options,
        )
        with stopping(indexing.stop):
            for rounds, counts in enumerate(indexing):
                watching = "" if rounds else f". Watching {names}; stop with Ctrl-C."
                say(f"{_described(counts)}{watching}")
    _summarise(indexing.counts, time.monotonic() - started, as_json=as_json)


def _described(counts: Counts) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in dataclasses.asdict(counts).items())


def _summarise(counts: Counts, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({**dataclasses.asdict(counts), "seconds": round(seconds, 3)})
    else:
        rate = counts.seen / seconds if seconds else 0.0
        click.echo(f"{_described(counts)} in {seconds:.1f} s ({rate:.1f} files/s).")
