"""The local node: Elasticsearch for the case at hand, on this machine, for nobody else."""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from pydantic import AnyHttpUrl, SecretStr

from simquery.errors import ClusterUnreachableError, NodeError
from simquery.node.account import Account, server_account
from simquery.node.distribution import Distribution
from simquery.node.docker import DockerEngine
from simquery.node.files import require_space, write_atomically
from simquery.node.health import HOST, PasswordRefusedError, ask, choose_port, is_settled
from simquery.node.java import Jdk, find_jdk
from simquery.node.layout import Launch, Layout, Record
from simquery.node.process import ProcessEngine, last_words
from simquery.node.sources import Container, find_server
from simquery.node.versions import check_data_version, read_data_version, write_data_version
from simquery.settings import Settings

__all__ = ["LocalNode", "NodeStatus"]

_log = logging.getLogger(__name__)

USERNAME = "elastic"
PASSWORD_BYTES = 24
SPACE_FOR_DATA = 2 * 2**30
HEALTH = "/_cluster/health?wait_for_status=green&timeout=2s"
SECONDS_TO_START = 180.0
SECONDS_OF_REFUSAL = 20.0
SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class NodeStatus:
    """What there is to know about the local node; never its password.

    Attributes
    ----------
    running
        Whether it runs.
    home, log
        Its folder, and its log file.
    url, username, pid
        Where it answers, the user to name there, and its process (a container has none); None when it does
        not run.
    version, source, heap
        Elasticsearch's version, where it came from (``installation``, ``docker``, ``archive``, ``maven``) and
        the size of its heap, now or when it ran last; None when it never did.
    """

    running: bool
    home: Path
    log: Path
    url: str | None = None
    username: str | None = None
    pid: int | None = None
    version: str | None = None
    source: str | None = None
    heap: str | None = None


class _Engine(Protocol):
    """What keeps the server alive: the system, or Docker."""

    def running(self) -> bool: ...
    def failed(self) -> bool: ...
    def detach(self) -> None: ...
    def pid(self) -> int | None: ...
    def stop(self) -> None: ...
    def output(self) -> str: ...


class LocalNode:
    """A single Elasticsearch node on loopback that simquery starts and stops.

    Parameters
    ----------
    settings
        Of these count: ``home``, ``cache``, ``elasticsearch_home``, ``java_home``, ``port``, ``heap``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(settings.home.expanduser().absolute())

    def up(self, report: Callable[[str], None] = _log.info) -> NodeStatus:
        """Start the node and wait until it is green; if it runs already, only say so.

        Parameters
        ----------
        report
            Called with one line per step.

        Raises
        ------
        NodeError
            Or one of its kinds: no JDK, no server to be had, no room, port in use, data of another version.
        """
        account = server_account(self._layout.data)
        self._layout.make_home(account)
        with self._locked(report):
            status = self.status()
            record = Record.read(self._layout.record)
            if status.running and record is not None:
                health = self._wait(self._engine(), record.port, self._password())
                report(f"Elasticsearch {status.version} already runs at {status.url}: {health}")
                return status
            self._start(account, report)
            return self.status()

    def _start(self, account: Account, report: Callable[[str], None]) -> None:
        settings, layout = self._settings, self._layout
        require_space(layout.home, SPACE_FOR_DATA, "the node's data")
        port = choose_port(settings.port)  # before anything is fetched for a port that cannot be had
        server = find_server(
            settings.elasticsearch_home, settings.cache, account, report, require_jdk=lambda: self._jdk(account)
        )
        check_data_version(read_data_version(layout.data_version), server.version)
        engine, start = self._prepare(server, account)
        layout.make_folders(account)
        launch = Launch(account, port, settings.heap, self._password())
        Record(server.version, server.source, port, settings.heap).write(layout.record)
        report(
            f"starting Elasticsearch {server.version} ({server.source}) at {_url(port)} with a heap of "
            f"{settings.heap}" + (f" as user {account.uid}" if account.drops_root else "")
        )
        started = time.monotonic()
        try:
            start(launch)
            health = self._wait(engine, port, launch.password)
        except BaseException:  # Ctrl-C as well: no half-started server stays behind
            engine.stop()
            raise
        write_data_version(layout.data_version, server.version)
        report(f"{health} after {time.monotonic() - started:.0f} s")

    def down(self) -> bool:
        """Stop the node.

        Returns
        -------
        bool
            Whether there was one to stop.
        """
        if not self._layout.home.is_dir():
            return False
        with self._locked(_log.info):
            engine = self._engine()
            running = engine.running()
            if running:
                engine.stop()
            return running

    def status(self) -> NodeStatus:
        """Tell whether the node runs, and where."""
        layout = self._layout
        record = Record.read(layout.record)
        if record is None:
            return NodeStatus(running=False, home=layout.home, log=layout.log)
        engine = self._engine()
        running = engine.running()
        return NodeStatus(
            running=running,
            home=layout.home,
            log=layout.log,
            url=_url(record.port) if running else None,
            username=USERNAME if running else None,
            pid=engine.pid() if running else None,
            version=record.version,
            source=record.source,
            heap=record.heap,
        )

    def credentials(self) -> tuple[str, SecretStr]:
        """User and password of the running node.

        Raises
        ------
        NodeError
            When it does not run, or the password belongs to another user.
        """
        if not self.status().running:
            raise NodeError("The local node is not running. Start it with: simquery up")
        try:
            return USERNAME, SecretStr(self._layout.password.read_text(encoding="ascii").strip())
        except OSError as error:
            raise NodeError(f"The password file '{self._layout.password}' cannot be read: {error.strerror}.") from None

    def connection(self) -> Settings:
        """Settings that lead to the running node, for everyday work.

        Returns
        -------
        Settings
            A copy of the node's settings with its address and credentials filled in.

        Raises
        ------
        ClusterUnreachableError
            When the node does not run.
        NodeError
            When the credentials belong to another user.
        """
        return self.administration()

    def administration(self) -> Settings:
        """Settings that lead to the running node as the user ``elastic``, who may do everything.

        Only ``simquery up``, which installs the index templates, and ``simquery kibana install`` need these rights.

        Raises
        ------
        ClusterUnreachableError
            When the node does not run.
        NodeError
            When the credentials belong to another user.
        """
        status = self.status()
        if status.url is None:
            raise ClusterUnreachableError(
                "The local node is not running: start it with 'simquery up', or set SIMQUERY_URL."
            )
        username, password = self.credentials()
        own = {"url": AnyHttpUrl(status.url), "username": username, "password": password, "api_key": None}
        return self._settings.model_copy(update=own)

    def _prepare(self, server: Distribution | Container, account: Account) -> tuple[_Engine, Callable[[Launch], None]]:
        if isinstance(server, Container):
            container = DockerEngine(self._layout)
            return container, partial(container.start, server.version)
        process = ProcessEngine(self._layout)
        return process, partial(process.start, server, self._jdk(account, server.bundled_jdk))

    def _jdk(self, account: Account, bundled: Path | None = None) -> Jdk:
        def reachable(program: Path) -> bool:
            return account.blocked_by(program) is None

        return find_jdk(self._settings.java_home, os.environ, bundled, reachable)

    def _engine(self) -> _Engine:
        record = Record.read(self._layout.record)
        if record is not None and record.source == Container.source:
            return DockerEngine(self._layout)
        return ProcessEngine(self._layout)

    def _password(self) -> SecretStr:
        """Read the node's password, or make one up where there is none yet."""
        layout = self._layout
        try:
            password = layout.password.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            password = ""
        except OSError as error:
            raise NodeError(f"The password file '{layout.password}' cannot be read: {error.strerror}.") from None
        if not password:
            layout.keystore.unlink(missing_ok=True)  # it holds one that nobody knows any more
            password = secrets.token_urlsafe(PASSWORD_BYTES)
            write_atomically(layout.password, f"{password}\n", 0o600)
        return SecretStr(password)

    def _wait(self, engine: _Engine, port: int, password: SecretStr) -> str:
        """Wait until the node is green, and return its health in words."""
        started = time.monotonic()
        health = None
        refused_since: float | None = None
        while time.monotonic() - started < SECONDS_TO_START:
            if engine.failed():
                words = last_words(engine.output())
                raise NodeError(f"Elasticsearch did not start:\n{words}\n{self._see_log()}")
            try:
                health = ask(port, HEALTH, USERNAME, password.get_secret_value()) if engine.running() else None
            except PasswordRefusedError:
                # Until it has opened the index with the users, the node refuses everybody.
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since > SECONDS_OF_REFUSAL:
                    raise
            if health is not None and is_settled(health):
                engine.detach()
                return str(health["status"])
            if health is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        state = "did not answer" if health is None else f"was still {health.get('status')}"
        raise NodeError(f"Elasticsearch {state} after {SECONDS_TO_START:.0f} s. {self._see_log()}")

    def _see_log(self) -> str:
        return f"More is in '{self._layout.console}' and '{self._layout.log}'."

    @contextmanager
    def _locked(self, report: Callable[[str], None]) -> Iterator[None]:
        """Start or stop the node in one process at a time."""
        try:
            # Others must not be able to open it: whoever can may hold the lock.
            handle = os.fdopen(os.open(self._layout.lock, os.O_RDWR | os.O_CREAT, 0o600), "a")
        except OSError as error:
            raise NodeError(f"'{self._layout.lock}' cannot be opened: {error.strerror}.") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("another simquery is starting or stopping the node: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"
