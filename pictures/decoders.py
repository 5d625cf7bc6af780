"""Decoding in separate processes, so that a file that crashes, hangs or takes over its decoder costs one picture."""

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
from contextlib import ExitStack
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any
from weakref import WeakSet

from simquery.errors import PictureError, SimqueryError
from simquery.paths import display_path
from simquery.pictures.decoding import NotAPictureError, UnreadError
from simquery.pictures.facts import require_facts
from simquery.pictures.files import CHANGED, FileState, has_changed, open_evidence, unread_reason
from simquery.pictures.pixels import Pixels
from simquery.pictures.sandbox import CPU_SECONDS, SECONDS

__all__ = ["Decoders", "decoder_command", "shared_decoders"]

logger = logging.getLogger(__name__)

_ERRORS = {error.__name__: error for error in (PictureError, NotAPictureError, UnreadError)}
_LONGEST_ANSWER = 1 << 16
_READY_SECONDS = 120.0
_LAST_RESORT = 10 * SECONDS
"""Seconds without an answer after which a decoder is killed: a dead network share can keep it from ending itself."""

_ENDING_SECONDS = 10.0

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from simquery.pictures.decoder import main; main(*map(int, sys.argv[2:]))"
)


class Decoders:
    """A pool of decoder processes, each started when it is first needed.

    Parameters
    ----------
    count
        Largest number of processes at the same time.
    """

    def __init__(self, count: int) -> None:
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._running: set[_Process] = set()
        self._awaited: dict[threading.Thread, _Process] = {}
        self._abandoned: WeakSet[threading.Thread] = WeakSet()
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)

    def decode(
        self, path: Path, into: Sequence[Pixels], *, state: FileState | None = None, thumbnail: bool = False
    ) -> dict[str, Any] | PictureError:
        """Decode one picture; several threads may call this at the same time.

        Parameters
        ----------
        path
            The file. This method opens it, read-only; a decoder gets the open file and cannot open any other.
        into
            uint8 arrays of shape (height, width, 3), which receive the pixels, each at its own size.
        state
            State in which the file was seen; if it has changed since, the result is an `UnreadError`. None: any state.
        thumbnail
            Whether the fields include a thumbnail.

        Returns
        -------
        dict or PictureError
            Fields of the image document; or the error, which is returned, not raised. An `UnreadError` applies to this
            path at this time; any other error applies to every path with the same content.

        Raises
        ------
        SimqueryError
            When no decoder process can be started.
        InterruptedError
            When `abandon` was called for this thread.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open_evidence(path))
            except OSError as error:
                return UnreadError(unread_reason(error))
            outcome = self._decode(path, file, into, thumbnail=thumbnail)
            if state is not None and has_changed(file, state):
                outcome = UnreadError(CHANGED)
        return outcome

    def _decode(
        self, path: Path, file: BufferedReader, into: Sequence[Pixels], *, thumbnail: bool
    ) -> dict[str, Any] | PictureError:
        process = self._idle.get()
        if threading.current_thread() in self._abandoned:
            self._idle.put(process)
            raise InterruptedError
        try:
            if process is None:
                process = _Process(self._lock.fileno())
                self._running.add(process)
            self._awaited[threading.current_thread()] = process
            return process.decode(file, into, thumbnail=thumbnail)
        except (EOFError, OSError, ValueError, LookupError, TypeError) as error:
            if process is None:
                raise
            self._running.discard(process)
            failure = process.failure(error)
            process = None
            logger.info("'%s': %s", display_path(path), failure)
            return failure
        finally:
            self._awaited.pop(threading.current_thread(), None)
            self._idle.put(process)

    def abandon(self, threads: Iterable[threading.Thread]) -> None:
        """Kill the processes that these threads wait for, and start no more for them.

        This lets a run end while a network share does not answer.
        """
        for thread in threads:
            self._abandoned.add(thread)
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
    """Return the decoders that this process shares, at most one per processor; they run until the process ends."""
    decoders = Decoders(os.cpu_count() or 1)
    atexit.register(decoders.close)
    return decoders


def decoder_command(*descriptors: int) -> list[str]:
    """Return the command that starts a decoder with the descriptors for `simquery.pictures.decoder.main`.

    The decoder ignores ``PYTHON…`` variables. It searches for modules in the same folders as this process, except the
    current folder, which may hold evidence.
    """
    return [sys.executable, "-I", "-c", _START, json.dumps(_module_folders()), *map(str, descriptors)]


def _module_folders() -> list[str]:
    here = os.stat(".")  # noqa: PTH116  (this works in a deleted folder, too)
    folders = [folder for folder in map(Path, sys.path) if folder.is_absolute() and folder.exists()]
    return [str(folder) for folder in folders if not os.path.samestat(folder.stat(), here)]


def _environment() -> dict[str, str]:
    """Return the environment of a decoder: of this process's variables, which may hold a password, only one is kept."""
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **libraries}


class _Process:
    """One decoder process, which decodes one picture after another."""

    def __init__(self, lock: int) -> None:
        # Each message arrives as a whole, so no length sent by a decoder has to be trusted.
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pixels = os.memfd_create("pixels")  # in memory only: no pixel of evidence is written to a disk
        descriptors = (theirs.fileno(), lock, self._pixels)
        with theirs:
            self._process = subprocess.Popen(
                decoder_command(*descriptors),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                env=_environment(),
                cwd="/",  # the process must not keep evidence from being unmounted
            )
        messages = self._process.stderr
        try:
            self._connection.settimeout(_READY_SECONDS)
            unavailable = self._receive()["sandbox"]
        except (EOFError, OSError, ValueError) as error:
            self.end()
            said = messages.read().decode("utf-8", "replace").strip() if messages else ""
            reason = said.splitlines()[-1] if said else str(error) or "it ended without a message"
            raise SimqueryError(f"The process that decodes pictures cannot be started: {reason}.") from error
        finally:
            if messages:
                messages.close()
        if unavailable:
            _warn_of_no_sandbox(unavailable)
        self._connection.settimeout(_LAST_RESORT)

    def decode(self, file: BufferedReader, into: Sequence[Pixels], *, thumbnail: bool) -> dict[str, Any] | PictureError:
        request = {"sizes": [values.shape[:2] for values in into], "thumbnail": thumbnail}
        file.seek(0)
        socket.send_fds(self._connection, [json.dumps(request).encode()], [file.fileno()])
        answer = self._receive()
        if "error" in answer:
            return _ERRORS[answer["error"]](answer["reason"])
        self._read_pixels(into)
        return require_facts(answer["fields"])

    def _receive(self) -> Any:
        if message := self._connection.recv(_LONGEST_ANSWER):
            return json.loads(message)
        raise EOFError

    def _read_pixels(self, into: Sequence[Pixels]) -> None:
        place = 0
        for values in into:
            place += os.preadv(self._pixels, [values.data], place)
        if place != sum(values.nbytes for values in into):
            raise ValueError("pixels are missing")

    def abandon(self) -> None:
        """Kill the process, which may end only when the file system answers, and wake the thread that waits for it."""
        self._process.kill()
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Kill the process, whatever it is doing."""
        self._close()
        self._process.kill()
        self._process.wait()

    def failure(self, error: Exception) -> PictureError:
        """Return why the process gave no answer, and clean up after it."""
        self._close()
        if isinstance(error, TimeoutError):  # the process cannot end before the network share answers
            self._process.kill()
            return UnreadError(f"no answer within {_LAST_RESORT:.0f} seconds")
        if not isinstance(error, EOFError | OSError):
            self._process.kill()
            self._process.wait()
            return PictureError("its decoder gave an invalid answer")
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:  # the process closed its connection, but did not end
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGPROF:
            return PictureError(f"decoding it takes more than {CPU_SECONDS:.0f} seconds of processor time")
        if code == -signal.SIGALRM:
            return UnreadError(f"could not be read within {SECONDS:.0f} seconds")
        if code == -signal.SIGKILL:
            return UnreadError("its decoder was killed, perhaps because memory ran out")
        return PictureError(f"its decoder crashed ({_ending(code)})")

    def _close(self) -> None:
        self._connection.close()
        os.close(self._pixels)


@cache
def _warn_of_no_sandbox(reason: str) -> None:
    """Warn once per run."""
    logger.warning(
        "This machine decodes pictures without a sandbox (%s): a hostile picture that takes over its decoder could read"
        " files and reach the network. Memory and time are still limited.",
        reason,
    )


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
