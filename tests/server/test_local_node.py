"""The local node's life, with a real Elasticsearch: started by root, by a user, and by an older simquery."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import AuthenticationException, AuthorizationException, Elasticsearch

from simquery.cluster import connect
from simquery.distances import DISTANCES
from simquery.errors import AuthenticationError, ClusterUnreachableError, NodeError
from simquery.mappings import images_index, install_templates
from simquery.node import LocalNode, NodeStatus
from simquery.node.certificate import make_certificate
from simquery.node.config import common_settings
from simquery.node.process import marker
from simquery.query import Hit, Searcher
from simquery.settings import Settings
from tests.server.vectors import features, never, ranked, store
from tests.stranger import Stranger

pytestmark = pytest.mark.server

HEAP = "512m"
NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that the server's user can enter, which pytest's own folders are not when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="simquery-node-"))
    folder.chmod(0o711)
    yield folder / "a home"
    shutil.rmtree(folder)


@pytest.fixture
def node(home: Path) -> Iterator[LocalNode]:
    node = LocalNode(Settings(home=home, heap=HEAP))
    yield node
    node.down()


def client(node: LocalNode) -> Elasticsearch:
    return connect(node.administration())


def rankings(elasticsearch: Elasticsearch) -> dict[str, tuple[Hit, ...]]:
    """The whole case `kept` by its distance to one reference."""
    searcher = Searcher(elasticsearch, "kept", "net", never)
    return {name: ranked(searcher, features(2, 1), name, None).hits for name in DISTANCES}


def processes() -> str:
    """Return the arguments and, if it is readable, the environment of every process."""
    texts = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                texts.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue
    return "\n".join(texts)


def start_elsewhere(home: Path) -> str:
    """Start the node in a process and session that end at once, and return what was printed."""
    script = (
        "import sys; from simquery.node import LocalNode; from simquery.settings import Settings; "
        "LocalNode(Settings(home=sys.argv[1], heap=sys.argv[2])).up(print)"
    )
    command = [sys.executable, "-c", script, str(home), HEAP]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout + answer.stderr


def check_that_strangers_are_refused(url: str, certificate: Path) -> None:
    for options in ({}, {"basic_auth": ("elastic", "wrong")}):
        with (
            Elasticsearch(url, ca_certs=str(certificate), **options) as stranger,
            pytest.raises(AuthenticationException),
        ):  # type: ignore[arg-type]
            stranger.info()


def check_that_the_secrets_are_only_in_their_files(node: LocalNode, home: Path, *texts: str) -> None:
    for secret in (home / "password", home / "api-key"):
        text = secret.read_text().strip()
        assert len(text) >= 32
        assert secret.stat().st_mode & 0o777 == 0o600
        assert secret.stat().st_uid == os.geteuid()
        told = [json.dumps(asdict(node.status()), default=str), repr(node.credentials()), repr(node.connection())]
        assert not any(text in other for other in (processes(), *told, *texts))
        for path in home.rglob("*"):
            if path.is_file() and path != secret:
                assert text.encode() not in path.read_bytes(), path


def test_life_cycle(node: LocalNode, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []

    # The node outlives the process that started it, as another user where that was root.
    printed = start_elsewhere(home)
    assert "green after" in printed
    status = node.status()
    assert status.running
    assert status.pid is not None
    assert status.url is not None
    assert (status.username, status.heap) == ("elastic", HEAP)
    assert status.log.stat().st_size > 0
    if os.geteuid() == 0:
        assert Path(f"/proc/{status.pid}").stat().st_uid != 0
    assert status.certificate is not None
    check_that_strangers_are_refused(status.url, status.certificate)

    # The second `up` finds it.
    assert node.up(lines.append) == status
    assert "already running" in lines[0]

    with client(node) as elasticsearch:
        assert elasticsearch.info()["version"]["number"] == status.version
        install_templates(elasticsearch)
        store(elasticsearch, "kept", np.repeat(features(1, 200), 2, axis=0))  # every second distance is a tie
        lists = rankings(elasticsearch)
        # An index with a copy that a single node has no place for: yellow for ever.
        elasticsearch.indices.create(index="copied", settings={"number_of_replicas": 1})
    check_that_the_secrets_are_only_in_their_files(node, home, printed, caplog.text, *lines)

    # A power failure: the process is gone, its pid file is not, and its number now belongs to another program.
    os.kill(status.pid, signal.SIGKILL)
    wait_until_gone(status.pid)
    assert not node.status().running
    with pytest.raises(NodeError, match="not running"):
        node.credentials()
    (home / "tmp" / "node.pid").write_text(f"{os.getpid()}\n")
    assert not node.status().running
    again = node.up(lines.append)
    assert again.pid not in {None, status.pid, os.getpid()}
    assert lines[-1].startswith("yellow after")
    with client(node) as elasticsearch:
        assert rankings(elasticsearch) == lists

    assert node.down() is True
    assert node.down() is False
    assert not node.status().running
    assert not (home / "tmp" / "node.pid").exists()

    # The password was lost: a new one, for the old data.
    (home / "password").rename(home / "lost")
    node.up(lines.append)
    assert node.credentials()[1].get_secret_value() != (home / "lost").read_text().strip()
    with client(node) as elasticsearch:
        assert rankings(elasticsearch) == lists
    assert node.down() is True


def wait_until_gone(pid: int) -> None:
    for _ in range(200):
        try:
            if not Path(f"/proc/{pid}/cmdline").read_bytes():
                return
        except OSError:
            return
        signal.sigtimedwait([], 0.05)
    raise TimeoutError(f"process {pid} is still there")


def processes_of(home: Path) -> dict[int, bytes]:
    """Arguments of the node's processes, by process id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_bytes()
            if marker(home).encode() in arguments.split(b"\0"):
                found[int(path.parent.name)] = arguments
    return found


def launchers() -> list[int]:
    """Launchers of the server that this process has started."""
    children = [
        int(number)
        for path in Path(f"/proc/{os.getpid()}/task").glob("*/children")
        for number in path.read_text().split()
    ]
    return [child for child in children if b"ServerLauncher" in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill_the_launcher(home: Path, killed: threading.Event) -> None:
    """Kill the launcher, and nothing else, as soon as the server boots under it."""
    while not killed.is_set():
        booting = [number for number, arguments in processes_of(home).items() if b"org.elasticsearch" in arguments]
        for launcher in launchers() if booting else []:
            os.kill(launcher, signal.SIGKILL)
            killed.set()


def start_without_tls(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a running node behind as simquery did before its nodes had certificates: open, and without a key."""

    def plain(modules: Collection[str] | None) -> dict[str, Any]:
        settings = common_settings(modules)
        return {name: value for name, value in settings.items() if ".ssl." not in name} | {
            "xpack.security.http.ssl.enabled": False,
            "xpack.security.transport.ssl.enabled": False,
        }

    with monkeypatch.context() as patch:
        patch.setattr("simquery.node.config.common_settings", plain)
        patch.setattr("simquery.node.local.ensure_certificate", lambda *_: None)
        patch.setattr("simquery.node.local.ensure_api_key", lambda *_: None)
        patch.setattr("simquery.node.local.node_client", plain_client)
        patch.setattr("simquery.node.layout.Record.url", property(lambda record: f"http://127.0.0.1:{record.port}"))
        LocalNode(Settings(home=home, heap=HEAP)).up(print)
    record = json.loads((home / "node.json").read_text())
    del record["tls"]
    (home / "node.json").write_text(json.dumps(record))
    (home / "node.json").chmod(0o644)


def plain_client(url: str, certificate: Path, username: str, password: str) -> Elasticsearch:
    return Elasticsearch(url, basic_auth=(username, password), max_retries=0)


def test_a_home_of_an_older_version_gets_tls_and_a_key_and_keeps_its_data(
    node: LocalNode, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_without_tls(home, monkeypatch)
    before = node.status()
    assert before.url is not None
    assert before.url.startswith("http://")
    with pytest.raises(NodeError, match=r"without TLS.*simquery up"):
        node.connection()
    username, password = node.credentials()
    with plain_client(before.url, home, username, password.get_secret_value()) as elasticsearch:
        store(elasticsearch, "kept", features(1, 50))
        lists = rankings(elasticsearch)

    # The launcher is killed while the node comes up with TLS: nothing of it is left, and the next attempt succeeds.
    killed = threading.Event()
    killer = threading.Thread(target=kill_the_launcher, args=(home, killed))

    def report(line: str) -> None:
        if line.startswith("starting"):
            killer.start()

    with pytest.raises(NodeError, match="did not start"):
        node.up(report)
    killed.set()
    killer.join()
    for number in processes_of(home):
        wait_until_gone(number)
    assert not node.status().running

    status = node.up()
    assert status.url is not None
    assert status.url.startswith("https://")
    assert (home / "node.json").stat().st_mode & 0o777 == 0o600
    assert (home / "config" / "node.key").stat().st_mode & 0o777 == 0o600
    own = node.connection()
    assert own.api_key is not None
    assert (home / "api-key").stat().st_mode & 0o777 == 0o600
    with connect(own) as elasticsearch:
        assert rankings(elasticsearch) == lists
        check_that_the_key_administers_nothing(elasticsearch)

    # The same key survives a restart, and so does who holds it; a lost one is replaced, and the old one is refused.
    assert node.up() == status
    assert node.connection().api_key == own.api_key
    (home / "api-key").unlink()
    node.up()
    assert node.connection().api_key != own.api_key
    with pytest.raises(AuthenticationError):
        connect(own.model_copy(update={"timeout": 5}))
    check_that_nobody_on_the_port_learns_a_secret(node, status)


def check_that_the_key_administers_nothing(elasticsearch: Elasticsearch) -> None:
    refused: list[Callable[[], object]] = [
        elasticsearch.security.get_user,
        lambda: elasticsearch.security.create_api_key(name="mine"),
        lambda: elasticsearch.cluster.put_settings(persistent={"action.destructive_requires_name": False}),
        lambda: elasticsearch.indices.create(index="elsewhere"),
        lambda: elasticsearch.indices.delete(index=images_index("kept", "net")),
        lambda: elasticsearch.indices.put_index_template(name="mine", index_patterns=["simquery-*"]),
    ]
    for request in refused:
        with pytest.raises(AuthorizationException):
            request()


def check_that_nobody_on_the_port_learns_a_secret(node: LocalNode, status: NodeStatus) -> None:
    """Kill the server and take its port, in plain HTTP and in TLS, while commands go on asking it."""
    everyday, administrator = node.connection(), node.administration()
    assert everyday.api_key is not None
    assert administrator.password is not None
    assert status.pid is not None
    assert status.url is not None
    os.kill(status.pid, signal.SIGKILL)
    wait_until_gone(status.pid)
    for certificate in (None, make_certificate()):
        with Stranger(int(status.url.rpartition(":")[2]), certificate) as stranger:
            for settings in (everyday, administrator):
                with pytest.raises(ClusterUnreachableError):
                    connect(settings.model_copy(update={"timeout": 5}))
        assert stranger.connections >= 2
        assert b"authorization" not in stranger.heard.lower()
    with pytest.raises(ClusterUnreachableError, match="not running"):
        node.connection()


AS_A_USER = """
import json, site, sys
for folder in sys.argv[4:]:
    site.addsitedir(folder)
from dataclasses import asdict
from simquery.node import LocalNode
from simquery.settings import Settings
if sys.argv[1] != "try":
    node = LocalNode(Settings(home=sys.argv[1], cache=sys.argv[2], heap=sys.argv[3]))
    try:
        status = node.up(lambda line: None)
    finally:
        stopped = node.down()
    print(json.dumps(asdict(status) | {"stopped": stopped}, default=str))
"""


def run_as_nobody(interpreter: str, home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    folders = [path for path in sys.path if Path(path).is_dir()]
    return subprocess.run(
        [interpreter, "-B", "-c", AS_A_USER, *arguments, *folders],
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )


def interpreter_for_nobody(home: Path) -> str:
    """Return a Python that the user ``nobody`` can run; root's own may be in a closed home."""
    for interpreter in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            if run_as_nobody(interpreter, home, "try", "", "").returncode == 0:
                return interpreter
        except OSError:
            continue
    pytest.skip("no Python that an unprivileged user could run simquery with")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a user already")
def test_as_a_user_without_privileges(home: Path) -> None:
    """Start the node as another user than root, with the server that root has downloaded."""
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    answer = run_as_nobody(interpreter_for_nobody(home), home, str(home), str(Settings().cache), HEAP)
    assert answer.returncode == 0, answer.stderr
    status = json.loads(answer.stdout)
    assert status["running"]
    assert status["stopped"]
    assert {path.stat().st_uid for path in home.rglob("*")} == {NOBODY}
