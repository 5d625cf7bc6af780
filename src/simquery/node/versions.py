"""Versions of Elasticsearch, and the data that each can read."""

import json
from pathlib import Path

from simquery.errors import DataVersionError
from simquery.node.files import write_atomically

__all__ = ["check_data_version", "read_data_version", "write_data_version"]


def check_data_version(written: str | None, server: str) -> None:
    """Check that a server can read the node's data.

    Parameters
    ----------
    written
        Version that wrote the data; None when there is no data, or the version is unknown.
    server
        Version of the server.

    Raises
    ------
    DataVersionError
        When the server is older than the data, or more than one major version newer.
    """
    if written is None:
        return
    data, program = _parse(written), _parse(server)
    if program < data:
        raise DataVersionError(
            f"The node's data was written by Elasticsearch {written}, but {server} is older and cannot "
            f"read it. Use {written} or newer (SIMQUERY_ELASTICSEARCH_HOME), or another SIMQUERY_HOME."
        )
    if program[0] - data[0] > 1:
        raise DataVersionError(
            f"The node's data was written by Elasticsearch {written}, but {server} cannot read it: an "
            f"upgrade must go through every major version. Start it with {data[0] + 1}.x first "
            f"(SIMQUERY_ELASTICSEARCH_HOME), or use another SIMQUERY_HOME."
        )


def _parse(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def read_data_version(path: Path) -> str | None:
    """Read the recorded version of the data; None when there is no readable record."""
    try:
        version = str(json.loads(path.read_text(encoding="utf-8"))["version"])
        _parse(version)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return version


def write_data_version(path: Path, version: str) -> None:
    """Record which version wrote the data."""
    write_atomically(path, json.dumps({"version": version}), 0o644)
