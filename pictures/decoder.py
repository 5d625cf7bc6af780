"""The process that decodes evidence, so that hostile files cannot harm the run (see `simquery.pictures.decoders`).

It runs in a sandbox, receives open files over a socket, writes pixels into memory that it shares with the run, and
answers in JSON. A picture that takes too much time or memory ends this process and nothing else.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BufferedReader
from typing import Any

from simquery.errors import PictureError
from simquery.pictures import sandbox
from simquery.pictures.decoding import UnreadError, decode_picture
from simquery.pictures.facts import described
from simquery.pictures.files import unread_reason
from simquery.pictures.formats import decoded_formats
from simquery.pictures.pixels import Pixels

__all__ = ["answer", "import_everything", "main"]

_LONGEST_REQUEST = 1 << 16
_LONGEST_REASON = 1000
"""Characters; the messages of some libraries quote the file."""

Alone = Callable[[], AbstractContextManager[None]]


def main(connection: int, lock: int, pixels: int) -> None:
    """Answer requests until the connection ends.

    Parameters
    ----------
    connection
        Descriptor of a socket that preserves message boundaries. The first message is ``{"sandbox": null}``, or gives
        the reason why there is no sandbox; each later one answers a request that came with an open file.
    lock
        Descriptor of a file that all decoders of the run share and lock while they decode a very large picture.
    pixels
        Descriptor of a file in memory for the pixels: the picture at each requested size, one after another.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C, the run closes the connection
    sandbox.limit_resources()
    import_everything()
    peer = socket.socket(fileno=connection)
    os.dup2(1, 2)  # codecs print warnings about files there
    try:
        sandbox.enter_sandbox()
    except sandbox.SandboxError as error:
        _send(connection, {"sandbox": error.strerror})
    else:
        _send(connection, {"sandbox": None})

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, 0)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        signal.setitimer(signal.ITIMER_REAL, sandbox.SECONDS)
        try:
            yield
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN)

    with contextlib.suppress(ConnectionError):
        while True:
            message, descriptors, _, _ = socket.recv_fds(peer, _LONGEST_REQUEST, 1)
            if not message:
                return
            signal.setitimer(signal.ITIMER_PROF, sandbox.CPU_SECONDS)  # unhandled, these signals end the process
            signal.setitimer(signal.ITIMER_REAL, sandbox.SECONDS)
            with os.fdopen(descriptors[0], "rb") as file:
                header, arrays = answer(json.loads(message), file, alone)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            place = 0
            for values in arrays:
                place += os.pwrite(pixels, values.data, place)
            _send(connection, header)


def import_everything() -> None:
    """Import everything that libraries import while decoding: in the sandbox, not even modules can be opened."""
    import mmap  # noqa: F401, PLC0415

    import scipy.fftpack  # noqa: F401, PLC0415
    from PIL import BmpImagePlugin, ImageColor, ImageFilter, ImagePalette, TiffImagePlugin  # noqa: F401, PLC0415

    decoded_formats()
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "cp1252"):
        b"".decode(encoding)


def answer(
    request: dict[str, Any], file: BufferedReader, alone: Alone = contextlib.nullcontext
) -> tuple[dict[str, Any], list[Pixels]]:
    """Return the fields of the document and the pixels at each size, or the kind of error and the reason."""
    try:
        picture, arrays = decode_picture(file, [(height, width) for height, width in request["sizes"]], alone)
        return {"fields": described(picture, with_thumbnail=request["thumbnail"])}, arrays
    except PictureError as error:
        return _error(type(error), str(error)), []
    except MemoryError:
        return _error(UnreadError, "too large for the memory of this machine"), []
    except OSError as error:
        return _error(UnreadError, unread_reason(error)), []
    except Exception as error:  # noqa: BLE001  (some pictures decode, but cannot be scaled or described)
        return _error(PictureError, f"broken picture: {error or type(error).__name__}"), []


def _error(kind: type[PictureError], reason: str) -> dict[str, Any]:
    return {"error": kind.__name__, "reason": reason[:_LONGEST_REASON]}


def _send(connection: int, message: dict[str, Any]) -> None:
    os.write(connection, json.dumps(message).encode())
