"""Options that several commands share."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from simquery.cli.output import configure_output
from simquery.settings import load_settings

__all__ = ["case_option", "command", "json_option", "model_option", "precision_option"]

_SETTINGS = ("case", "model", "precision")
"""Options that stand for a setting of the same name."""

Command = Callable[..., Any]


def command(function: Command) -> Command:
    """Add the options that all commands share, and pass the settings as the first argument."""

    @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file to use.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more about what is being done.")
    @click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
    @functools.wraps(function)
    def with_settings(*, config: Path | None, verbose: bool, quiet: bool, **arguments: Any) -> None:
        configure_output(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
        options = {name: arguments.pop(name) for name in _SETTINGS if name in arguments}
        function(load_settings(config, **options), **arguments)

    return with_settings


def case_option(function: Command) -> Command:
    """Add ``--case``."""
    return click.option("--case", metavar="NAME", help="Case to use.  [default: default]")(function)


def model_option(function: Command) -> Command:
    """Add ``--model``."""
    return click.option("--model", metavar="NAME", help="Network; see 'simquery models list'.")(function)


def precision_option(function: Command) -> Command:
    """Add ``--precision``."""
    kind = click.Choice(["float32", "mixed"])
    return click.option("--precision", type=kind, help="mixed: faster on a GPU.  [default: float32]")(function)


def json_option(function: Command) -> Command:
    """Add ``--json``, which prints the result as one JSON document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
