"""The local node's life, with a real Elasticsearch: it boots four times, as root does it and as a user does."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import AuthenticationException, Elasticsearch

from simquery.cluster import connect
from simquery.distances import DISTANCES
from simquery.errors import NodeError
from simquery.mappings import install_templates
from simquery.node import LocalNode
from simquery.query import Hit, Searcher
from simquery.settings import Settings
from tests.server.vectors import features, never, ranked, store

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
    """Arguments and, where we may read it, the environment of every process."""
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


def check_that_the_password_is_only_in_its_file(node: LocalNode, home: Path, *texts: str) -> None:
    password = node.credentials()[1].get_secret_value()
    assert (home / "password").stat().st_mode & 0o777 == 0o600
    assert (home / "password").stat().st_uid == os.geteuid()
    for text in (processes(), json.dumps(asdict(node.status()), default=str), repr(node.credentials()), *texts):
        assert password not in text
    for path in home.rglob("*"):
        if path.is_file() and path != home / "password":
            assert password.encode() not in path.read_bytes(), path


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
    check_that_the_password_is_only_in_its_file(node, home, printed, caplog.text, *lines)

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
    """A Python that nobody can run: often not root's own, which may lie in root's closed home."""
    for interpreter in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            if run_as_nobody(interpreter, home, "try", "", "").returncode == 0:
                return interpreter
        except OSError:
            continue
    pytest.skip("no Python that an unprivileged user could run simquery with")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a user already")
def test_as_a_user_without_privileges(home: Path) -> None:
    """The same, started by somebody who is not root, with the server that root has fetched."""
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    answer = run_as_nobody(interpreter_for_nobody(home), home, str(home), str(Settings().cache), HEAP)
    assert answer.returncode == 0, answer.stderr
    status = json.loads(answer.stdout)
    assert status["running"]
    assert status["stopped"]
    assert {path.stat().st_uid for path in home.rglob("*")} == {NOBODY}
