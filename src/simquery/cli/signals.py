"""Handling of SIGINT (Ctrl-C) and SIGTERM in a running command."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["interrupted_by_sigterm", "stopping"]


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first signal call ``stop``, so that the command finishes its current work; a second signal ends it."""
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
