"""Progress of long commands: a bar on a terminal, otherwise a line every half minute."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from simquery.cli.output import STDERR, say

__all__ = ["Show", "progress_bar"]

_SECONDS_BETWEEN_LINES = 30.0


class Show(Protocol):
    """Show what a command is doing, how much is done, and the total (None or 0: not known)."""

    def __call__(self, what: str, done: int, total: int | None, /) -> None: ...  # noqa: D102


@contextmanager
def progress_bar(unit: str, when_interrupted: str | None = None) -> Iterator[Show]:
    """Show progress while the block runs.

    Parameters
    ----------
    unit
        Name of the counted things, such as ``files``.
    when_interrupted
        What to say when the user stops the command.
    """
    try:
        if STDERR.is_terminal:
            with _bar(unit) as show:
                yield show
        else:
            yield _Lines(unit)
    except KeyboardInterrupt:
        if when_interrupted:
            say(when_interrupted)
        raise


@contextmanager
def _bar(unit: str) -> Iterator[Show]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} · left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as progress:
        stages: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int | None, /) -> None:
            stage = what.partition(":")[0]  # the text after the colon changes during a stage
            if stage not in stages:
                for task in stages.values():
                    progress.update(task, visible=False)
                stages[stage] = progress.add_task(what, total=total or None, rate="")
            speed = progress.tasks[stages[stage]].speed
            rate = f"{speed:.1f} {unit}/s" if speed else ""
            progress.update(stages[stage], description=what, completed=done, total=total or None, rate=rate)

        yield show


class _Lines:
    """Print a line every half minute, for logs of services and jobs."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._started: dict[str, float] = {}
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __call__(self, what: str, done: int, total: int | None, /) -> None:
        now = time.monotonic()
        started = self._started.setdefault(what.partition(":")[0], now)
        if now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN_LINES
        rate = done / (now - started) if now > started else 0.0
        left = f", about {(total - done) / rate:,.0f} s left" if total and rate else ""
        of = f" of {total:,}" if total else ""
        say(f"{what}: {done:,}{of} {self._unit}, {rate:.1f}/s{left}")
