"""The ``simquery`` command, also as ``python -m simquery``.

The rest is imported inside `main`, so that Ctrl-C during the import ends as cleanly as later.
"""

import gc
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    # Imports make many objects and no garbage: the collector would take a tenth of the time until a command begins.
    gc.disable()
    try:
        from simquery.cli.main import main as run  # noqa: PLC0415

        gc.freeze()
        gc.enable()
        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
