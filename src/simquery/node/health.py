"""Health of the node: ask it, and wait until it is ready."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from elasticsearch import ApiError, AuthenticationException, AuthorizationException, Elasticsearch

from simquery.cluster import FOREIGN_ERRORS, explain
from simquery.cluster.transport import PunctualNode
from simquery.errors import NodeError, PortError
from simquery.node.process import last_words

__all__ = ["Engine", "PasswordRefusedError", "ask", "is_settled", "node_client", "pauses", "wait_until_ready"]

SECONDS_FOR_ANSWER = 10.0
SECONDS_TO_START = 180.0
SECONDS_OF_REFUSAL = 20.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 2.0
"""Shortest and longest pause, in seconds, between two requests to a server that does not answer yet."""

REQUEST_TIMEOUT = 408
"""HTTP status of the answer when the node did not reach the requested health in time."""
UNAVAILABLE = 503
PORT_TAKEN = "BindHttpException"
"""Name of the server's error when its port is taken."""


class PasswordRefusedError(NodeError):
    """The node refuses the password, because it is wrong or because the node cannot check it yet."""


class Engine(Protocol):
    """The means by which the server runs: the operating system, or Docker."""

    def running(self) -> bool:
        """Return whether the server is running."""

    def failed(self) -> bool:
        """Return whether the start has failed."""

    def detach(self) -> None:
        """Let go of the server, which keeps running."""

    def pid(self) -> int | None:
        """Return the server's process id, if it has one here."""

    def stop(self) -> None:
        """Stop the server; its data is kept."""

    def output(self) -> str:
        """Return what the server printed last."""


def node_client(url: str, certificate: Path, username: str, password: str) -> Elasticsearch:
    """Connect to the node, trusting its own certificate; each request is made once, with a short time limit.

    No credential is sent before the TLS handshake has succeeded, so another program on the node's port learns nothing.
    Handshake and answer together have a time limit, so such a program cannot delay the caller by sending single bytes.
    """
    return Elasticsearch(
        url,
        node_class=PunctualNode,
        ca_certs=str(certificate),
        basic_auth=(username, password),
        request_timeout=SECONDS_FOR_ANSWER,
        max_retries=0,
    )


def ask(client: Elasticsearch) -> Mapping[str, Any] | None:
    """Ask the node for its health, giving it two seconds to become green.

    Returns
    -------
    Mapping or None
        The answer; None if the node does not answer, or is not ready.

    Raises
    ------
    PasswordRefusedError
        When the node refuses the password.
    """
    patient = client.options(ignore_status=REQUEST_TIMEOUT)
    try:
        return dict(patient.cluster.health(wait_for_status="green", timeout="2s"))
    except (AuthenticationException, AuthorizationException):
        raise PasswordRefusedError(
            "The node refuses the password in its home. Was it changed on the server? "
            "Put the new one into the file 'password' there."
        ) from None
    except FOREIGN_ERRORS:
        return None


def is_settled(health: Mapping[str, Any]) -> bool:
    """Return whether waiting cannot improve the cluster's health.

    Green is settled. Yellow is settled if only replicas are missing, for which a single node has no place: an index
    that the user made with replicas must not keep the node from becoming ready.
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


def pauses() -> Iterator[float]:
    """Yield the seconds to pause between checks; they grow, because each check of Docker takes processor time."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(1.3 * pause, LONGEST_PAUSE)


def wait_until_ready(client: Elasticsearch, engine: Engine, prepare: Callable[[], None], see_also: str) -> str:
    """Wait until the node is ready for work.

    Parameters
    ----------
    client
        Connection to the node.
    engine
        The means by which the server runs.
    prepare
        Called once the health is settled, to prepare the node for work. It is called again if the node cannot do that
        yet: the index with users and keys may become available a little later than the rest.
    see_also
        Sentence for the error message that says where to read more.

    Returns
    -------
    str
        The node's health: ``green`` or ``yellow``.

    Raises
    ------
    PortError
        When another program took the server's port while it started.
    NodeError
        When the server ends, refuses the password, or is not ready in time.
    """
    started = time.monotonic()
    health: Mapping[str, Any] | None = None
    refused_since: float | None = None
    pause = pauses()
    while time.monotonic() - started < SECONDS_TO_START:
        answered = False
        try:
            health = ask(client)
            answered = health is not None
            if health is not None and is_settled(health):
                prepare()
                engine.detach()
                return str(health["status"])
        except PasswordRefusedError:
            # The node refuses all users until it has opened the index that contains them.
            refused_since = refused_since or time.monotonic()
            if time.monotonic() - refused_since > SECONDS_OF_REFUSAL:
                raise
        except FOREIGN_ERRORS as error:
            if isinstance(error, ApiError) and error.status_code != UNAVAILABLE:
                raise NodeError(f"{explain(error, 'The local node')} {see_also}") from error
            answered = False
        if not answered:
            if engine.failed():
                words = last_words(engine.output()) or "It ended without an error message; was it killed?"
                failure = PortError if PORT_TAKEN in words else NodeError
                raise failure(f"Elasticsearch did not start:\n{words}\n{see_also}")
            time.sleep(next(pause))
    state = "did not answer" if health is None else f"was still {health.get('status')}"
    raise NodeError(f"Elasticsearch {state} after {SECONDS_TO_START:.0f} s. {see_also}")
