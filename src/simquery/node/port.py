"""The node's address: always on loopback, at a free port."""

import socket
from contextlib import closing

from simquery.errors import PortError

__all__ = ["DEFAULT_PORT", "HOST", "choose_port"]

HOST = "127.0.0.1"
DEFAULT_PORT = 9200


def choose_port(wanted: int | None) -> int:
    """Choose the port for the node.

    Parameters
    ----------
    wanted
        The user's choice; None for 9200, or any free port if 9200 is taken.

    Raises
    ------
    PortError
        When the user's choice is taken.
    """
    if wanted is None:
        return DEFAULT_PORT if _is_free(DEFAULT_PORT) else _any_port()
    if not _is_free(wanted):
        raise PortError(
            f"Port {wanted} of {HOST} is in use by another program. Set SIMQUERY_PORT to another port, or "
            f"leave it unset: simquery then finds a free one."
        )
    return wanted


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections that are closing
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
