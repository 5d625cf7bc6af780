"""The process in which evidence is decoded, started by `simquery.pictures.decoders`: hostile files cannot harm the run.

It speaks JSON over one connection and ends with it; pixels go through memory that it shares with the run. A picture
that takes too long, or more memory than there is for one, ends the process, and nothing else.
"""

import contextlib
import fcntl
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from simquery.errors import PictureError
from simquery.pictures.decoding import UnreadError, decode_picture
from simquery.pictures.facts import described
from simquery.pictures.files import CHANGED, FileState, has_changed, open_evidence, unread_reason
from simquery.pictures.pixels import Pixels

__all__ = ["CPU_SECONDS", "MEMORY", "SECONDS", "answer", "main"]

CPU_SECONDS = 60.0
"""So long a processor may work on one picture."""

SECONDS = 300.0
"""So long one picture may take in all: a network share may stall."""

MEMORY = 3 << 30
"""Bytes that the process may have: twice what the largest picture that is decoded needs."""

Alone = Callable[[], AbstractContextManager[None]]


def main(connection: Connection, lock: int, pixels: int) -> None:
    """Answer requests until the connection ends.

    Parameters
    ----------
    connection
        To the run.
    lock
        Descriptor of a file that all decoders of the run share, to be locked while a very large picture is decoded.
    pixels
        Descriptor of a file in memory: the pixels at each size asked for are written there, one after the other.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends the connection
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, 0)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            yield
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN)

    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(connection.recv_bytes())
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # unhandled, these signals end the process
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            header, arrays = answer(request, alone)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            place = 0
            for values in arrays:
                place += os.pwrite(pixels, values.data, place)
            connection.send_bytes(json.dumps(header).encode())


def answer(request: dict[str, Any], alone: Alone = contextlib.nullcontext) -> tuple[dict[str, Any], list[Pixels]]:
    """Fields of the document and pixels at each size, or the kind of error and the reason."""
    try:
        with open_evidence(Path(request["path"])) as file:
            picture, arrays = decode_picture(file, [(height, width) for height, width in request["sizes"]], alone)
            fields = described(picture, with_thumbnail=request["thumbnail"])
            if request["state"] and has_changed(file, FileState(*request["state"])):
                raise UnreadError(CHANGED)
    except PictureError as error:
        return {"error": type(error).__name__, "reason": str(error)}, []
    except OSError as error:
        return {"error": UnreadError.__name__, "reason": unread_reason(error)}, []
    return {"fields": fields}, arrays


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
