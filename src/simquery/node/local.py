"""The local node: an Elasticsearch on this machine for this user only."""

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
from typing import Any

from pydantic import AnyHttpUrl, SecretStr

from simquery.errors import ClusterUnreachableError, NodeError, PortError
from simquery.node.account import Account, server_account
from simquery.node.api_key import ensure_api_key
from simquery.node.certificate import ensure_certificate
from simquery.node.distribution import Distribution
from simquery.node.docker import DockerEngine
from simquery.node.files import require_space, write_atomically
from simquery.node.health import Engine, node_client, wait_until_ready
from simquery.node.java import Jdk, find_jdk
from simquery.node.layout import Launch, Layout, Record
from simquery.node.port import choose_port
from simquery.node.process import ProcessEngine
from simquery.node.sources import Container, find_server
from simquery.node.versions import check_data_version, read_data_version, write_data_version
from simquery.settings import Settings

__all__ = ["LocalNode", "NodeStatus"]

_log = logging.getLogger(__name__)

USERNAME = "elastic"
PASSWORD_BYTES = 24
SPACE_FOR_DATA = 2 * 2**30


@dataclass(frozen=True)
class NodeStatus:
    """Facts about the local node, without its secrets.

    Attributes
    ----------
    running
        Whether the node is running.
    home, log
        Its folder and its log file.
    url, username, pid
        Its address, its administrator's name and its process id (a container has none); None if it is not running.
    certificate
        File with the certificate that it presents; None if it is not running.
    version, source, heap
        Elasticsearch's version, where it came from (``installation``, ``docker``, ``archive``, ``maven``) and
        the size of its heap, now or when it last ran; None if it never ran.
    """

    running: bool
    home: Path
    log: Path
    url: str | None = None
    username: str | None = None
    pid: int | None = None
    certificate: Path | None = None
    version: str | None = None
    source: str | None = None
    heap: str | None = None


class LocalNode:
    """A single Elasticsearch node on loopback that simquery starts and stops.

    Parameters
    ----------
    settings
        ``home``, ``cache``, ``elasticsearch_home``, ``java_home``, ``port`` and ``heap`` describe the node.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(settings.home.expanduser().absolute())

    def up(self, report: Callable[[str], None] = _log.info) -> NodeStatus:
        """Start the node and wait until it is ready. If it is already running, only report that.

        A node that an older simquery started without TLS is restarted with TLS; its data is kept.

        Parameters
        ----------
        report
            Called with one line per step.

        Raises
        ------
        NodeError
            Or one of its subclasses: no JDK, no server, no room, port in use, data of another version, or a home that
            another user could have prepared.
        """
        account = server_account(self._layout.data)
        self._layout.make_home(account)
        with self._locked(report):
            record = Record.read(self._layout.record)
            engine = self._engine(record)
            if record is not None and engine.running():
                if record.tls:
                    health = self._ready(engine, record.url)
                    report(f"Elasticsearch {record.version} is already running at {record.url}: {health}")
                    return self.status()
                report(f"stopping the node at {record.url}, which does not use TLS yet")
                engine.stop()
            self._start(account, report)
            return self.status()

    def _start(self, account: Account, report: Callable[[str], None]) -> None:
        settings, layout = self._settings, self._layout
        require_space(layout.home, SPACE_FOR_DATA, "the node's data")
        port = choose_port(settings.port)  # fail before anything is downloaded if the port is taken
        server = find_server(
            settings.elasticsearch_home, settings.cache, account, report, require_jdk=lambda: self._jdk(account)
        )
        check_data_version(read_data_version(layout.data_version), server.version)
        engine, start = self._prepare(server, account)
        layout.make_folders(account)
        ensure_certificate(layout.key, layout.certificate, account)

        def launch(port: int) -> None:
            record = Record(server.version, server.source, port, settings.heap, tls=True)
            record.write(layout.record)
            report(
                f"starting Elasticsearch {server.version} ({server.source}) at {record.url} with a heap of "
                f"{settings.heap}" + (f" as user {account.uid}" if account.drops_root else "")
            )
            started = time.monotonic()
            try:
                start(Launch(account, port, settings.heap, self._password()))
                health = self._ready(engine, record.url)
            except BaseException:  # on Ctrl-C as well, leave no half-started server behind
                engine.stop()
                raise
            write_data_version(layout.data_version, server.version)
            report(f"{health} after {time.monotonic() - started:.0f} s")

        try:
            launch(port)
        except PortError:
            if settings.port is not None:
                raise
            report(f"another program has taken port {port} in the meantime: trying another port")
            launch(choose_port(None))

    def _ready(self, engine: Engine, url: str) -> str:
        """Wait until the node is ready, make the key for everyday work, and return the node's health."""
        layout = self._layout
        see_also = f"More is in '{layout.console}' and '{layout.log}'."
        with node_client(url, layout.certificate, USERNAME, self._password().get_secret_value()) as administrator:
            prepare = partial(ensure_api_key, administrator, layout.api_key)
            return wait_until_ready(administrator, engine, prepare, see_also)

    def down(self) -> bool:
        """Stop the node.

        Returns
        -------
        bool
            Whether it was running.
        """
        if not self._layout.home.is_dir():
            return False
        self._layout.check_trust()
        with self._locked(_log.info):
            engine = self._engine(Record.read(self._layout.record))
            running = engine.running()
            if running:
                engine.stop()
            return running

    def status(self) -> NodeStatus:
        """Return whether the node is running, and where.

        Raises
        ------
        NodeError
            When the node belongs to another user.
        """
        layout = self._layout
        record = Record.read(layout.record)
        if record is None:
            return NodeStatus(running=False, home=layout.home, log=layout.log)
        engine = self._engine(record)
        running = engine.running()
        return NodeStatus(
            running=running,
            home=layout.home,
            log=layout.log,
            url=record.url if running else None,
            username=USERNAME if running else None,
            pid=engine.pid() if running else None,
            certificate=layout.certificate if running and record.tls else None,
            version=record.version,
            source=record.source,
            heap=record.heap,
        )

    def credentials(self) -> tuple[str, SecretStr]:
        """Return user and password of the running node's administrator.

        Raises
        ------
        NodeError
            When the node is not running, or the password belongs to another user.
        """
        if not self.status().running:
            raise NodeError("The local node is not running. Start it with: simquery up")
        return USERNAME, self._secret(self._layout.password)

    def connection(self) -> Settings:
        """Return settings for a connection to the running node with the key for everyday work.

        Returns
        -------
        Settings
            A copy of the node's settings with its address, certificate and API key filled in.

        Raises
        ------
        ClusterUnreachableError
            When the node does not run.
        NodeError
            When the node is older than its key, or the key belongs to another user.
        """
        own = self._address()
        own["api_key"] = self._secret(self._layout.api_key)
        return self._settings.model_copy(update=own)

    def administration(self) -> Settings:
        """Return settings for a connection to the running node as the user ``elastic``, who has all rights.

        Only ``simquery up``, which installs the index templates, and ``simquery kibana install`` need these rights.

        Raises
        ------
        ClusterUnreachableError
            When the node does not run.
        NodeError
            When the node is older than its certificate, or the password belongs to another user.
        """
        own = self._address()
        own["username"], own["password"] = self.credentials()
        return self._settings.model_copy(update=own)

    def _address(self) -> dict[str, Any]:
        """Return settings with the address and the certificate of the running node, without credentials."""
        status = self.status()
        if status.url is None:
            raise ClusterUnreachableError(
                "The local node is not running: start it with 'simquery up', or set SIMQUERY_URL."
            )
        if status.certificate is None:
            raise NodeError("An older simquery started the local node, without TLS. Restart it with: simquery up")
        self._layout.check_trust()
        return {
            "url": AnyHttpUrl(status.url),
            "ca_file": status.certificate,
            "verify_certificates": True,
            "username": None,
            "password": None,
            "api_key": None,
        }

    def _secret(self, path: Path) -> SecretStr:
        self._layout.check_trust()
        try:
            return SecretStr(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            raise NodeError(f"'{path}' is missing. Run 'simquery up', which makes it.") from None
        except OSError as error:
            raise NodeError(f"'{path}' cannot be read: {error.strerror}.") from None

    def _prepare(self, server: Distribution | Container, account: Account) -> tuple[Engine, Callable[[Launch], None]]:
        if isinstance(server, Container):
            container = DockerEngine(self._layout)
            return container, partial(container.start, server.version)
        process = ProcessEngine(self._layout)
        return process, partial(process.start, server, self._jdk(account, server.bundled_jdk))

    def _jdk(self, account: Account, bundled: Path | None = None) -> Jdk:
        def reachable(program: Path) -> bool:
            return account.blocked_by(program) is None

        return find_jdk(self._settings.java_home, os.environ, bundled, reachable)

    def _engine(self, record: Record | None) -> Engine:
        if record is not None and record.source == Container.source:
            return DockerEngine(self._layout)
        return ProcessEngine(self._layout)

    def _password(self) -> SecretStr:
        """Read the node's password, or generate one if there is none yet."""
        layout = self._layout
        try:
            password = layout.password.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            password = ""
        except OSError as error:
            raise NodeError(f"'{layout.password}' cannot be read: {error.strerror}.") from None
        if not password:
            layout.keystore.unlink(missing_ok=True)  # it contains a password that nobody knows any more
            password = secrets.token_urlsafe(PASSWORD_BYTES)
            write_atomically(layout.password, f"{password}\n", 0o600)
        return SecretStr(password)

    @contextmanager
    def _locked(self, report: Callable[[str], None]) -> Iterator[None]:
        """Let only one process at a time start or stop the node."""
        try:
            # Not accessible to others, because whoever can open the file can hold the lock.
            handle = os.fdopen(os.open(self._layout.lock, os.O_RDWR | os.O_CREAT, 0o600), "a")
        except OSError as error:
            raise NodeError(f"'{self._layout.lock}' cannot be opened: {error.strerror}.") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("waiting for another simquery that is starting or stopping the node")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
