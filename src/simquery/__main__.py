"""The ``simquery`` command, also as ``python -m simquery``.

It imports the rest inside, so that Ctrl-C during the import ends as cleanly as later.
"""

import gc
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    # Imports make many objects and no garbage: looking for it takes a tenth of the time until a command begins.
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
