"""Output of the commands: results go to stdout; progress, messages and logs to stderr."""

import json
import logging
import sys
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler

from simquery.paths import printable

__all__ = ["RESULTS", "STDERR", "configure_output", "print_json", "say"]

_WIDE = 10_000

RESULTS = Console(width=None if sys.stdout.isatty() else _WIDE)
"""Tables on stdout; without a terminal they are as wide as they need to be, so that `grep` finds whole lines."""

STDERR = Console(stderr=True)
"""Progress and messages."""


def say(text: str) -> None:
    """Print a message literally on one line of stderr: a path may contain text that looks like markup."""
    STDERR.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a result as JSON."""
    click.echo(json.dumps(document, indent=2, default=str))


def configure_output(level: int) -> None:
    """Send log records of at least ``level`` to stderr; from ERROR on, also suppress messages."""
    verbose = level <= logging.DEBUG
    STDERR.quiet = level >= logging.ERROR
    # Messages quote paths, which may contain text that looks like markup.
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=verbose, markup=False)
    logging.captureWarnings(capture=True)  # Pillow warns of oddities in files; --verbose shows them
    for name, threshold in {"simquery": level, "py.warnings": level if verbose else logging.CRITICAL}.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(threshold)
        logger.propagate = False
