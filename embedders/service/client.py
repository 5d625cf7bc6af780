"""Client of the process that holds a network: find, start, use and end it."""

import fcntl
import hashlib
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from simquery import errors
from simquery.embedders.embedder import Embedder, Features, Pixels
from simquery.embedders.networks import NETWORKS
from simquery.embedders.service.messages import Header, array_of, receive, remove_socket, send
from simquery.embedders.weights import find_weights
from simquery.errors import EmbedderError
from simquery.settings import Settings

__all__ = ["ServedEmbedder", "Service", "running_services", "stop_services", "warm_embedder"]

logger = logging.getLogger(__name__)

_SECONDS_TO_ANSWER = 120.0
_SECONDS_TO_SAY_WHO = 2.0
_PASSED_ON = {"model", "weights_dir", "embedders", "inference", "precision", "keep_warm"}


@dataclass(frozen=True)
class Service:
    """A process that holds a network: model, process id, age in seconds, number of clients served."""

    model: str
    pid: int
    age: float
    answered: int


class ServedEmbedder:
    """An `Embedder` whose network runs in another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _connected(path, _SECONDS_TO_ANSWER) as stream:
            facts = _ask(stream, {"do": "facts"})[0]
        self.name = str(facts["name"])
        self.dims = int(cast("int", facts["dims"]))
        height, width = cast("list[int]", facts["input_size"])
        self.input_size = (height, width)
        self.fingerprint = str(facts["fingerprint"])

    def embed(self, batch: Pixels) -> Features:
        """Return the feature vectors of a batch of pictures, in the same order.

        Raises
        ------
        EmbedderError
            When the process has ended, or its network fails.
        """
        try:
            with _connected(self._path, _SECONDS_TO_ANSWER) as stream:
                send(stream, {"do": "embed"}, batch)
                header, payload = receive(stream)
        except (OSError, EOFError, ValueError) as error:
            raise EmbedderError(f"The process that holds '{self.name}' has ended: run the command again.") from error
        if "error" in header:
            raise EmbedderError(f"Model '{self.name}' fails: {header['error']}")
        return cast("Features", array_of(header, payload, np.float32))


def warm_embedder(settings: Settings) -> Embedder:
    """Return the embedder that the settings name, held by another process, which is started if it is not running yet.

    Raises
    ------
    EmbedderError
        When the network cannot be built.
    """
    if settings.keep_warm:
        try:
            return _served(settings)
        except (OSError, EOFError, ValueError, KeyError) as error:
            logger.info("No process could hold the network (%s); this process builds it.", error)
    from simquery.embedders.registry import build_embedder  # noqa: PLC0415

    return build_embedder(settings)


def running_services(settings: Settings) -> list[Service]:
    """List the processes that hold networks for this home."""
    found = []
    for path in _sockets(settings):
        try:
            with _connected(path, _SECONDS_TO_SAY_WHO) as stream:
                facts = _ask(stream, {"do": "facts"})[0]
        except (OSError, EOFError, ValueError):
            continue  # the process has ended, or is busy with pictures
        age = time.time() - float(cast("float", facts["started"]))
        pid, answered = (int(cast("int", facts[name])) for name in ("pid", "answered"))
        found.append(Service(str(facts["name"]), pid, round(age, 1), answered))
    return found


def stop_services(settings: Settings) -> int:
    """End the processes that hold networks for this home; return how many there were."""
    stopped = 0
    for path in _sockets(settings):
        with suppress(OSError, EOFError, ValueError):
            facts = path.stat()
            with suppress(ConnectionRefusedError), _connected(path, _SECONDS_TO_ANSWER) as stream:
                _ask(stream, {"do": "stop"})
                stopped += 1
            remove_socket(path, facts)
    return stopped


def _served(settings: Settings) -> ServedEmbedder:
    folder = _folder(settings)
    name = _identity(settings)
    path = folder / f"{name}.sock"
    with suppress(OSError, EOFError):
        return ServedEmbedder(path)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another command may be starting the process
        with suppress(OSError, EOFError):
            return ServedEmbedder(path)
        _start(settings, path, folder / f"{name}.log")
        return ServedEmbedder(path)


def _start(settings: Settings, path: Path, log: Path) -> None:
    given = settings.model_dump(mode="json", include=_PASSED_ON)
    if settings.weights_dir is not None:
        given["weights_dir"] = str(settings.weights_dir.absolute())
    given["embedders"] = {name: _absolute(target) for name, target in settings.embedders.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMQUERY_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "simquery.embedders.service.server", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",  # the process must not keep evidence from being unmounted
            env={**environment, "SIMQUERY_CONFIG": os.devnull},
            start_new_session=True,
        )
    with process.stdin as to, process.stdout as answers:  # type: ignore[union-attr]
        to.write(json.dumps(given).encode())
        to.close()
        line = answers.readline()
    if not line:
        raise EOFError(f"the process did not start; see '{log}'")
    process.returncode = 0  # the process goes on running, and Python must not warn that nobody waits for it
    answer = json.loads(line)
    if "error" in answer:
        raise getattr(errors, answer["error"], EmbedderError)(answer["message"])


def _absolute(target: str) -> str:
    return str(Path(target).absolute()) if target.endswith((".keras", ".h5")) else target


def _sockets(settings: Settings) -> list[Path]:
    try:
        return sorted(_folder(settings).glob("*.sock"))
    except OSError:
        return []


def _folder(settings: Settings) -> Path:
    """Return the folder for the sockets of a home. Only the user can enter it, so nobody else can reach a socket."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"simquery-{os.geteuid()}"
    folder = base / hashlib.sha256(os.fsencode(settings.home.absolute())).hexdigest()[:12]
    for each in (base, folder):
        each.mkdir(mode=0o700, exist_ok=True)
        facts = each.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise OSError(f"other users can enter '{each}'")
    return folder


def _identity(settings: Settings) -> str:
    """Return a name for the process: each combination of model, weights and Python has its own process."""
    files = [settings.embedders.get(settings.model, "")]
    network = NETWORKS.get(settings.model.partition("@")[0].lower())
    if network is not None:
        files.append(str(find_weights(network, settings.weights_dir) or ""))
    described = [sys.executable, settings.model.lower(), settings.inference, settings.precision, *files]
    for file in files:
        with suppress(OSError):
            facts = Path(file).stat()
            described += [str(facts.st_size), str(facts.st_mtime_ns)]
    return hashlib.sha256("\0".join(described).encode()).hexdigest()[:16]


@contextmanager
def _connected(path: Path, seconds: float) -> Iterator[BinaryIO]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        with connection.makefile("rwb") as stream:
            yield cast("BinaryIO", stream)


def _ask(stream: BinaryIO, header: Header) -> tuple[Header, bytes]:
    send(stream, header)
    return receive(stream)
