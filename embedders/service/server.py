"""The process that holds a network: ``python -m simquery.embedders.service.server SOCKET``, settings on stdin.

The process prints one line of JSON on stdout when it is ready or cannot start.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from simquery.embedders import Embedder, build_embedder
from simquery.embedders.service.messages import Header, array_of, receive, remove_socket, send
from simquery.errors import SimqueryError
from simquery.settings import Settings

__all__ = ["main", "serve"]

_SECONDS_FOR_A_CLIENT = 60.0


def serve(listener: socket.socket, embedder: Embedder, idle: float) -> None:
    """Answer one client after another, until one sends stop or none connects for ``idle`` seconds."""
    listener.settimeout(idle)
    started = time.time()
    answered = 0
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection:
            connection.settimeout(_SECONDS_FOR_A_CLIENT)
            facts: Header = {"pid": os.getpid(), "started": started, "answered": answered}
            with connection.makefile("rwb") as stream:
                try:
                    if _answer(cast("BinaryIO", stream), embedder, facts):
                        return
                except (OSError, EOFError, ValueError, KeyError):
                    continue  # this client has gone, or sent something else; go on with the next
                answered += 1


def _answer(stream: BinaryIO, embedder: Embedder, facts: Header) -> bool:
    """Answer the requests of one client; return true when it sends stop."""
    while True:
        try:
            header, payload = receive(stream)
        except EOFError:
            return False
        if header["do"] == "stop":
            send(stream, {})
            return True
        if header["do"] == "facts":
            send(stream, {**facts, **describe(embedder)})
        else:
            try:
                vectors = embedder.embed(array_of(header, payload, np.uint8))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001  (a network may raise anything; the client gets the message)
                send(stream, {"error": f"{type(error).__name__}: {error}"})
            else:
                send(stream, {}, vectors.astype("<f4"))


def describe(embedder: Embedder) -> Header:
    """Return the attributes of an embedder, for the header of an answer."""
    return {
        "name": embedder.name,
        "dims": embedder.dims,
        "input_size": list(embedder.input_size),
        "fingerprint": embedder.fingerprint,
    }


def main() -> None:
    """Build the network, report that it is ready, and serve clients."""
    path = Path(sys.argv[1])
    settings = Settings(**json.load(sys.stdin))
    # Only the line of JSON goes to the parent; what libraries print goes to stderr.
    parent = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        embedder = build_embedder(settings)
        # The first batch takes longer than all others, so it is done before a client waits for one.
        embedder.embed(np.zeros((1, *embedder.input_size, 3), np.uint8))
    except SimqueryError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=parent)
        sys.exit(error.exit_code)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        facts = path.stat()
        listener.listen()
        print(json.dumps({"ready": True}), file=parent, flush=True)
        parent.close()
        try:
            serve(listener, embedder, settings.keep_warm)
        finally:
            remove_socket(path, facts)


if __name__ == "__main__":
    main()
