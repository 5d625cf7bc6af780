"""``simquery index | watch``: evidence folders into a case."""

import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
from simquery.embedders import build_embedder
from simquery.indexer import Counts, Indexer, Watcher, check_folder, scan
from simquery.paths import display_path
from simquery.settings import Settings

__all__ = ["index", "watch"]

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.command(epilog="Example:  simquery index /mnt/evidence --case fraud-7 --model mobilenetv2")
@_FOLDER
@json_option
@command
def index(settings: Settings, folder: Path, *, as_json: bool) -> None:
    """Index every picture in FOLDER, and below it.

    The folder is only read. Each path gets an entry in the ledger of the case; running the command again, or going on
    after an interruption, looks only at what is new or changed.
    """
    folder = check_folder(folder)
    with open_cluster(settings) as client:
        indexer = _indexer(client, settings)
        started = time.monotonic()
        with _progress(folder) as show:
            indexer.index(scan(folder), show)
    _summarise(indexer.counts, time.monotonic() - started, as_json=as_json)


@click.command(epilog="Example:  simquery watch /mnt/evidence --case fraud-7")
@_FOLDER
@json_option
@command
def watch(settings: Settings, folder: Path, *, as_json: bool) -> None:
    """Index FOLDER, then every picture that appears in it, until stopped with Ctrl-C (or SIGTERM)."""
    folder = check_folder(folder)
    with open_cluster(settings) as client:
        indexer = _indexer(client, settings)
        started = time.monotonic()
        with Watcher(folder) as watcher:
            with _progress(folder) as show:
                indexer.index(scan(folder), show)
            say(f"{_described(indexer.counts)}. Watching '{display_path(folder)}'; stop with Ctrl-C.")
            with _stopping(watcher.stop):
                for files in watcher.complete():
                    indexer.index(files, lambda _: None)
                    say(_described(indexer.counts))
    _summarise(indexer.counts, time.monotonic() - started, as_json=as_json)


def _indexer(client: Elasticsearch, settings: Settings) -> Indexer:
    graph = {"similarity": settings.similarity, "vector_index": settings.vector_index}
    return Indexer(client, settings.case, build_embedder(settings), **graph)


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
def _progress(folder: Path) -> Iterator[Callable[[Counts], None]]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} · {task.fields[counts]} · left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=TO_PEOPLE, transient=True) as progress:
        task = progress.add_task("", total=None, rate="", counts="counting files")
        progress.update(task, total=sum(1 for _ in scan(folder)))
        started = time.monotonic()

        def show(counts: Counts) -> None:
            rate = f"{counts.seen / max(time.monotonic() - started, 1e-6):.1f} files/s"
            progress.update(task, completed=counts.seen, rate=rate, counts=_described(counts))

        try:
            yield show
        except KeyboardInterrupt:
            say("What was done so far is stored; the same command goes on from there.")
            raise


def _described(counts: Counts) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in dataclasses.asdict(counts).items())


def _summarise(counts: Counts, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(counts), "seconds": round(seconds, 3)}))
    else:
        rate = counts.seen / seconds if seconds else 0.0
        say(f"{_described(counts)} in {seconds:.1f} s ({rate:.1f} files/s).")
