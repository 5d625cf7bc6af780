"""Unexpected errors: what the run was doing, with which file, and what may help."""

from collections.abc import Iterator
from contextlib import contextmanager

from simquery.cluster import FOREIGN_ERRORS
from simquery.errors import OutOfMemoryError, SimqueryError, UnforeseenError

__all__ = ["explained"]


@contextmanager
def explained(action: str, file: str | None = None) -> Iterator[None]:
    """Turn an unexpected error into one that says what was being done.

    Parameters
    ----------
    action
        What is being done, such as "storing 64 files".
    file
        Path of the file concerned, as text.

    Raises
    ------
    OutOfMemoryError
        For a `MemoryError`.
    UnforeseenError
        For any other error that is neither simquery's nor the cluster's.
    """
    what = f"{action} '{file}'" if file else action
    try:
        yield
    except (SimqueryError, InterruptedError, *FOREIGN_ERRORS):
        raise
    except MemoryError as error:
        raise OutOfMemoryError(
            f"Not enough memory for {what}. Close other programs, or give fewer networks with --model; then run the"
            " same command again: it continues from here."
        ) from error
    except Exception as error:
        helps = " If it fails again, leave the file out with --exclude." if file else ""
        raise UnforeseenError(
            f"Unexpected error while {what}: {type(error).__name__}: {error}. Run the same command again: it continues"
            f" from here.{helps} Please report the error."
        ) from error
