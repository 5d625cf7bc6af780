"""The cache of downloaded servers, in the folder ``SIMQUERY_CACHE``."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simquery.errors import NodeError
from simquery.node.distribution import Distribution, open_distribution
from simquery.node.files import remove_scratch

__all__ = ["VERSION", "fetched_before", "keep", "locked"]

VERSION = "9.4.3"
"""The version of Elasticsearch that simquery downloads."""


def _place(cache: Path, source: str) -> Path:
    return cache / f"elasticsearch-{VERSION}-{source}"


def fetched_before(cache: Path) -> Distribution | None:
    """Return the server in the cache, or None if there is none."""
    for source in ("archive", "maven"):
        try:
            return open_distribution(_place(cache, source), source)
        except NodeError:
            continue
    return None


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Let only one process at a time download a server.

    Raises
    ------
    NodeError
        When the cache cannot be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = (cache / "lock").open("w")
    except OSError as error:
        raise NodeError(f"The cache '{cache}' cannot be written: {error.strerror}.") from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        remove_scratch(cache)
        yield


def keep(folder: Path, cache: Path, source: str) -> Distribution:
    """Move a complete server into the cache in one step, so that the cache never holds an incomplete one.

    Raises
    ------
    NodeError
        When the folder holds no server.
    """
    open_distribution(folder, source)
    place = _place(cache, source)
    folder.chmod(0o755)
    folder.rename(place)
    return open_distribution(place, source)
