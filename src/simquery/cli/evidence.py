"""``simquery index | watch``: evidence folders into a case."""

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
from elasticsearch import Elasticsearch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from simquery.cli.options import TO_PEOPLE, command, json_option, open_cluster, say
from simquery.embedders import Embedder, build_embedder
from simquery.indexer import Counts, Details, EvidenceFile, Indexer, Selection, Watcher, check_folders, scan
from simquery.paths import display_path
from simquery.settings import Settings

__all__ = ["index", "watch"]


def _part(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    """``1/4``: the first of four parts."""
    part, _slash, parts = value.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise click.BadParameter(f"'{value}' is not of the form I/N, such as 1/4.")
    return int(part), int(parts)


def _evidence_options(function: Callable[..., None]) -> Callable[..., None]:
    """The folders, and what to do with the files in them."""
    for decorate in reversed(
        (
            click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path)),
            click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; repeatable."),
            click.option("--exclude", multiple=True, metavar="GLOB", help="Not the files that match; repeatable."),
            click.option(
                "--min-size", "min_side", type=click.IntRange(0), default=0, help="Leave out smaller pictures (pixels)."
            ),
            click.option("--partition", callback=_part, default="1/1", metavar="I/N", help="Only part I of N."),
            click.option("--label-folders", is_flag=True, help="Label pictures with the name of their folder."),
            click.option("--thumbnails", is_flag=True, help="Store a small JPEG with each picture."),
            click.option(
                "--record-missing",
                "missing_is_true",
                is_flag=True,
                help="Record missing files as gone even if the disk may not be mounted.",
            ),
            click.option(
                "--precision",
                type=click.Choice(["float32", "mixed"]),
                help="mixed: faster on a GPU.  [default: float32]",
            ),
        )
    ):
        function = decorate(function)
    return function


@click.command(epilog="Example:  simquery index /mnt/evidence --case fraud-7 --model mobilenetv2")
@_evidence_options
@json_option
@command
def index(settings: Settings, *, as_json: bool, precision: str | None, missing_is_true: bool, **options: Any) -> None:
    """Index every picture in FOLDER, and below it.

    The folder is only read. Each path gets an entry in the ledger of the case; running the command again, or going on
    after an interruption, looks only at what is new or changed, and records what has gone. Several networks share one
    pass: --model mobilenetv2,mini.
    """
    selection, details = _chosen(**options)
    with open_cluster(settings) as client, _interrupted_by_sigterm():
        indexer = _indexer(client, settings, details, precision)
        started = time.monotonic()
        with _progress(selection) as show:
            indexer.index(selection.of(_all_files(selection.folders)), show)
            for folder in selection.folders:
                indexer.record_gone(folder, missing_is_true=missing_is_true)
    _summarise(indexer.counts, time.monotonic() - started, as_json=as_json)


@click.command(epilog="Example:  simquery watch /mnt/evidence --case fraud-7")
@_evidence_options
@click.option("--poll", type=click.FloatRange(0.1), metavar="SECONDS", help="Look for changes, as network shares need.")
@json_option
@command
def watch(
    settings: Settings,
    *,
    as_json: bool,
    poll: float | None,
    precision: str | None,
    missing_is_true: bool,
    **options: Any,
) -> None:
    """Index FOLDER, then every picture that appears in it, until stopped with Ctrl-C (or SIGTERM).

    Files that change are indexed anew, and those that go are recorded; nothing is ever removed from the case.
    """
    selection, details = _chosen(**options)
    names = ", ".join(f"'{display_path(folder)}'" for folder in selection.folders)
    with open_cluster(settings) as client:
        indexer = _indexer(client, settings, details, precision)
        started = time.monotonic()
        with Watcher(selection.folders, poll_seconds=poll) as watcher, _stopping(watcher.stop):
            with _progress(selection) as show:
                going_on = takewhile(lambda _: not watcher.stopped, _all_files(selection.folders))
                indexer.index(selection.of(going_on), show)
            if not watcher.stopped:
                for folder in selection.folders:
                    indexer.record_gone(folder, missing_is_true=missing_is_true)
                say(f"{_described(indexer.counts)}. Watching {names}; stop with Ctrl-C.")
            for change in watcher.changes():
                indexer.record_seen_gone(change.gone)
                indexer.index(selection.of(change.files), lambda _: None)
                say(_described(indexer.counts))
    _summarise(indexer.counts, time.monotonic() - started, as_json=as_json)


def _chosen(
    folders: tuple[Path, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    partition: tuple[int, int],
    min_side: int,
    *,
    label_folders: bool,
    thumbnails: bool,
) -> tuple[Selection, Details]:
    selection = Selection(check_folders(folders), include, exclude, *partition)
    return selection, Details(thumbnails=thumbnails, label_folders=label_folders, min_side=min_side)


def _embedders(settings: Settings) -> list[Embedder]:
    names = dict.fromkeys(name.strip() for name in settings.model.split(","))
    return [build_embedder(settings.model_copy(update={"model": name})) for name in names]


def _indexer(client: Elasticsearch, settings: Settings, details: Details, precision: str | None) -> Indexer:
    if precision is not None:
        settings = settings.model_copy(update={"precision": precision})
    return Indexer(
        client,
        settings.case,
        _embedders(settings),
        details,
        similarity=settings.similarity,
        vector_index=settings.vector_index,
    )


def _all_files(folders: Iterable[Path]) -> Iterator[EvidenceFile]:
    for folder in folders:
        yield from scan(folder)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call ``stop`` once, so that what has begun is finished; a second one ends at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop_once(*_: object) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, stop_once)
    try:
        yield
    finally:
        restore()


@contextmanager
def _progress(selection: Selection) -> Iterator[Callable[[Counts], None]]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} · {task.fields[counts]} · left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=TO_PEOPLE, transient=True) as progress, _counting(selection) as total:
        task = progress.add_task("", total=None, rate="", counts="counting files")
        started = time.monotonic()

        def show(counts: Counts) -> None:
            rate = f"{counts.seen / max(time.monotonic() - started, 1e-6):.1f} files/s"
            progress.update(task, total=total(), completed=counts.seen, rate=rate, counts=_described(counts))

        try:
            yield show
        except KeyboardInterrupt:
            say("What was done so far is stored; the same command goes on from there.")
            raise


@contextmanager
def _counting(selection: Selection) -> Iterator[Callable[[], int | None]]:
    """Count the files while they are being indexed; None until all are counted."""
    ended = threading.Event()
    total: list[int] = []

    def count() -> None:
        files = takewhile(lambda _: not ended.is_set(), _all_files(selection.folders))
        total.append(sum(1 for _ in selection.of(files)))

    thread = threading.Thread(target=count, name="reader-of-names")
    thread.start()
    try:
        yield lambda: total[0] if total else None
    finally:
        ended.set()
        thread.join()


def _described(counts: Counts) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in dataclasses.asdict(counts).items())


def _summarise(counts: Counts, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(counts), "seconds": round(seconds, 3)}))
    else:
        rate = counts.seen / seconds if seconds else 0.0
        say(f"{_described(counts)} in {seconds:.1f} s ({rate:.1f} files/s).")
