"""The ``simquery`` command: its sub-commands, and the one place where errors become messages and exit codes."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from simquery.cluster import FOREIGN_ERRORS, explain
from simquery.errors import SimqueryError
from simquery.paths import printable
from simquery.version import __version__

__all__ = ["cli", "main"]

logger = logging.getLogger(__name__)

_INTERRUPTED = 130

_MODULES = {
    "up": "node",
    "down": "node",
    "status": "node",
    "index": "evidence",
    "watch": "evidence",
    "verify": "verify",
    "query": "query",
    "mark": "mark",
    "recall": "recall",
    "evaluate": "evaluate",
    "models": "models",
    "kibana": "kibana",
}
"""The module of each command. Only that of the given command is imported: imports take half of a query's time."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(f"simquery.cli.{_MODULES[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="simquery")
def cli() -> None:
    """Rank seized pictures by similarity to a few reference pictures.

    \b
      simquery up                       start the local Elasticsearch
      simquery index FOLDER             index a folder of pictures
      simquery query PICTURE            rank them by similarity to a picture
      simquery evaluate FOLDER          compare networks and distances on a folder of classes
      simquery down                     stop the local Elasticsearch

    You can give every setting as SIMQUERY_<NAME> in the environment, or in the configuration file (see --config).
    """  # noqa: D301


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        cli.main(arguments, standalone_mode=False)
    except SimqueryError as error:
        _fail(str(error), error.exit_code)
    except FOREIGN_ERRORS as error:
        explained = explain(error)
        _fail(str(explained), explained.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("Stopped.", _INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the program that reads our output has ended, as with `| head`
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename or 'The output'}: {error.strerror or error}.", SimqueryError.exit_code)
    except MemoryError:
        _fail(
            "Not enough memory. Close other programs, or ask for less: fewer hits, no --all.", SimqueryError.exit_code
        )
    except Exception as error:
        logger.debug("", exc_info=True)
        what = f"{type(error).__name__}: {error}"
        _fail(
            f"Unexpected error: {what}. Run the command again with --verbose and report the output.",
            SimqueryError.exit_code,
        )


def _fail(message: str, code: int) -> None:
    click.echo(printable(f"simquery: {message}"), err=True)
    sys.exit(code)
