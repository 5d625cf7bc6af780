"""Decoding in processes of their own: one that crashes or hangs costs one picture, not the run."""

import atexit
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from simquery.errors import PictureError, SimqueryError
from simquery.paths import display_path
from simquery.pictures.decoder import CPU_SECONDS, SECONDS
from simquery.pictures.decoding import NotAPictureError, UnreadError
from simquery.pictures.files import FileState
from simquery.pictures.pixels import Pixels

__all__ = ["Decoders", "decoder_command", "shared_decoders"]

logger = logging.getLogger(__name__)

_ERRORS = {error.__name__: error for error in (PictureError, NotAPictureError, UnreadError)}
_READY_SECONDS = 120.0
_LAST_RESORT = 10 * SECONDS
"""After so long without any answer the process is given up: a dead network share can keep it from ending itself."""


class Decoders:
    """Decoder processes, started when they are first needed.

    Parameters
    ----------
    count
        So many processes at most.
    """

    def __init__(self, count: int) -> None:
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._running: set[_Process] = set()
        self._awaited: dict[threading.Thread, _Process] = {}
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)

    def decode(
        self, path: Path, into: Sequence[Pixels], *, state: FileState | None = None, thumbnail: bool = False
    ) -> dict[str, Any] | PictureError:
        """Decode one picture; may be called from several threads.

        Parameters
        ----------
        path
            The file.
        into
            Arrays of shape (height, width, 3) that get its pixels, each at its own size.
        state
            The file must still be as it was seen; None: as it is now.
        thumbnail
            Whether its document gets a thumbnail.

        Returns
        -------
        dict or PictureError
            Fields of the image document; or the error, returned and not raised. An `UnreadError` concerns this path
            and this time; any other concerns every path with the same content.

        Raises
        ------
        SimqueryError
            When no decoder process can be started.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._lock.fileno())
                self._running.add(process)
            self._awaited[threading.current_thread()] = process
            return _ask(process, path, into, state=state, thumbnail=thumbnail)
        except (EOFError, OSError) as error:
            if process is None:
                raise
            self._running.discard(process)
            failure = process.failure(timed_out=isinstance(error, TimeoutError))
            process = None
            logger.info("'%s': %s", display_path(path), failure)
            return failure
        finally:
            self._awaited.pop(threading.current_thread(), None)
            self._idle.put(process)

    def abandon(self, threads: Iterable[threading.Thread]) -> None:
        """Kill the processes that these threads wait for: a run can end while a network share gives no answer."""
        for thread in threads:
            process = self._awaited.get(thread)
            if process is not None:
                process.abandon()

    def close(self) -> None:
        """End all processes."""
        while self._running:
            self._running.pop().end()
        self._lock.close()


@cache
def shared_decoders() -> Decoders:
    """The decoders of this process, one for each of its processors; they stay until it ends."""
    decoders = Decoders(os.cpu_count() or 1)
    atexit.register(decoders.close)
    return decoders


def _ask(
    process: "_Process", path: Path, into: Sequence[Pixels], *, state: FileState | None, thumbnail: bool
) -> dict[str, Any] | PictureError:
    request = {
        "path": str(path),
        "state": state and [state.size, state.mtime_ns],
        "sizes": [values.shape[:2] for values in into],
        "thumbnail": thumbnail,
    }
    process.send(json.dumps(request).encode())
    header = json.loads(process.receive(_LAST_RESORT))
    if "error" in header:
        return _ERRORS[header["error"]](header["reason"])
    process.read_pixels(into)
    fields: dict[str, Any] = header["fields"]
    return fields


def decoder_command(*descriptors: int) -> list[str]:
    """What starts a decoder with the descriptors that `simquery.pictures.decoder.main` takes."""
    # -P: the current folder may be evidence, and must not be searched for modules.
    return [sys.executable, "-P", "-m", "simquery.pictures.decoder", *map(str, descriptors)]


class _Process:
    def __init__(self, lock: int) -> None:
        self._connection, theirs = Pipe()
        self._pixels = os.memfd_create("pixels")  # in memory alone: no pixel of evidence is written to a disk
        with theirs:
            self._process = subprocess.Popen(
                decoder_command(theirs.fileno(), lock, self._pixels),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # codecs write what they think of a file there
                pass_fds=(theirs.fileno(), lock, self._pixels),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        try:
            self.receive(_READY_SECONDS)
        except (EOFError, OSError) as error:
            self.end()
            raise SimqueryError(
                "A process to decode in cannot be started: 'python -m simquery.pictures.decoder 0 1 2' says why."
            ) from error

    def send(self, content: bytes) -> None:
        self._connection.send_bytes(content)

    def receive(self, seconds: float) -> bytes:
        if not self._connection.poll(seconds):
            raise TimeoutError
        return self._connection.recv_bytes()

    def read_pixels(self, into: Sequence[Pixels]) -> None:
        """Copy what the process has written of its last picture."""
        place = 0
        for values in into:
            place += os.preadv(self._pixels, [values.data], place)
        if place != sum(values.nbytes for values in into):
            raise EOFError

    def abandon(self) -> None:
        """Kill it, and wake up the thread that waits for its answer: it may not end before the file system answers."""
        self._process.kill()
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._close()
        self._process.kill()
        self._process.wait()

    def failure(self, *, timed_out: bool) -> PictureError:
        """Why it ended; it is cleared away."""
        self._close()
        if timed_out:  # nothing can end it before the network share answers
            self._process.kill()
            return UnreadError(f"no answer within {_LAST_RESORT:.0f} seconds")
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return PictureError(f"decoding it takes a processor longer than {CPU_SECONDS:.0f} seconds")
        if code == -signal.SIGALRM:
            return UnreadError(f"could not be read within {SECONDS:.0f} seconds")
        if code == -signal.SIGKILL:
            return UnreadError("its decoder was killed, perhaps for want of memory")
        return PictureError(f"its decoder crashed ({_ending(code)})")

    def _close(self) -> None:
        self._connection.close()
        os.close(self._pixels)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
