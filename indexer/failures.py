"""Errors that nobody foresaw: what the run was doing, with which file, and what helps."""

from collections.abc import Iterator
from contextlib import contextmanager

from simquery.cluster import FOREIGN_ERRORS
from simquery.errors import OutOfMemoryError, SimqueryError, UnforeseenError

__all__ = ["explained"]


@contextmanager
def explained(action: str, file: str | None = None) -> Iterator[None]:
    """Turn an error that nobody foresaw into one that says what was being done.

    Parameters
    ----------
    action
        Such as "storing 64 files".
    file
        Text of the path that the action concerns.

    Raises
    ------
    OutOfMemoryError
        For a `MemoryError`.
    UnforeseenError
        For any other that is neither ours nor the cluster's.
    """
    what = f"{action} '{file}'" if file else action
    try:
        yield
    except (SimqueryError, InterruptedError, *FOREIGN_ERRORS):
        raise
    except MemoryError as error:
        raise OutOfMemoryError(
            f"Not enough memory for {what}. Close other programs, or give fewer networks at once with --model; then run"
            " the same command again: it goes on from here."
        ) from error
    except Exception as error:
        helps = " If it fails again, leave the file out with --exclude." if file else ""
        raise UnforeseenError(
            f"An unexpected error while {what}: {type(error).__name__}: {error}. Run the same command again: it goes on"
            f" from here.{helps} Please report the error."
        ) from error
