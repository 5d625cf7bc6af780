"""Options that all commands share, and what a command gets from them."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import click
from elasticsearch import Elasticsearch
from rich.console import Console
from rich.logging import RichHandler

from simquery.cluster import connect
from simquery.node import LocalNode
from simquery.settings import Settings, load_settings

__all__ = ["OUTPUT", "TO_PEOPLE", "command", "json_option", "open_cluster", "say"]

_WIDE = 10_000

OUTPUT = Console(width=None if sys.stdout.isatty() else _WIDE)
"""Results, on stdout; as wide as they are where no terminal limits them, so that `grep` finds whole lines."""

TO_PEOPLE = Console(stderr=True)
"""Progress, summaries and messages, on stderr."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options, and the settings made of them as its first argument."""

    @click.option("--case", help="Investigation that the pictures belong to.  [default: default]")
    @click.option("--model", help="Network that embeds pictures; see 'simquery models list'.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more of what is being done.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
    @functools.wraps(function)
    def with_settings(*, case: str | None, model: str | None, verbose: bool, quiet: bool, **arguments: Any) -> None:
        _configure_output(verbose=verbose, quiet=quiet)
        function(load_settings(case=case, model=model), **arguments)

    return with_settings


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``: the result as one JSON document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def open_cluster(settings: Settings) -> Elasticsearch:
    """Connect to the cluster of the settings, or else to the local node.

    Raises
    ------
    ClusterUnreachableError
        When no cluster is set and the local node does not run.
    """
    if settings.url is not None:
        return connect(settings)
    return connect(LocalNode(settings).connection())


def say(text: str) -> None:
    """Tell people something, on one line of stderr, as it is: a path may hold what looks like markup."""
    TO_PEOPLE.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _configure_output(*, verbose: bool, quiet: bool) -> None:
    TO_PEOPLE.quiet = quiet
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=verbose)
    logging.captureWarnings(capture=True)  # Pillow warns of oddities in files: of interest when looking closer
    for name, threshold in {"simquery": level, "py.warnings": level if verbose else logging.CRITICAL}.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(threshold)
        logger.propagate = False
