"""What the node says about itself, over HTTP on loopback."""

import base64
import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from simquery.errors import NodeError, PortError

__all__ = ["DEFAULT_PORT", "HOST", "PasswordRefusedError", "ask", "choose_port", "is_settled"]

HOST = "127.0.0.1"
DEFAULT_PORT = 9200
SECONDS_FOR_ANSWER = 10.0


class PasswordRefusedError(NodeError):
    """The node does not accept the password: a wrong one, or one that it cannot check yet."""


def choose_port(wanted: int | None) -> int:
    """Choose the port for the node.

    Parameters
    ----------
    wanted
        The user's choice; None for 9200, or any free one where that is taken.

    Raises
    ------
    PortError
        When the user's choice is taken.
    """
    if wanted is None:
        return DEFAULT_PORT if _is_free(DEFAULT_PORT) else _any_port()
    if not _is_free(wanted):
        raise PortError(
            f"Port {wanted} of {HOST} is in use by another program. Set SIMQUERY_PORT to another one, or "
            f"leave it unset: then simquery finds a free one."
        )
    return wanted


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, username: str, password: str) -> Mapping[str, Any] | None:
    """Ask the node for something.

    The connection is made directly, whatever proxy the environment names.

    Returns
    -------
    Mapping or None
        Its answer; None when it does not answer, or is not ready to.

    Raises
    ------
    PasswordRefusedError
        When it does not accept the password.
    """
    token = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    with closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS_FOR_ANSWER)) as connection:
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
    if answer.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
        raise PasswordRefusedError(
            f"The node at {HOST}:{port} refuses the password in its home. Was it changed on the server? "
            f"Put the new one into the file 'password' there."
        )
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def is_settled(health: Mapping[str, Any]) -> bool:
    """Whether the cluster's health will not get better by waiting.

    Green is settled. So is yellow when only copies are missing for which a single node has no place: an index
    that the user made with replicas must not keep the node from ever being up.
    """
    if health.get("status") == "green":
        return True
    waiting = (
        "initializing_shards",
        "relocating_shards",
        "number_of_pending_tasks",
        "unassigned_primary_shards",
    )
    return health.get("status") == "yellow" and all(health.get(name, 1) == 0 for name in waiting)
