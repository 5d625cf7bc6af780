"""The local node's decisions and messages, with a server that is a shell script."""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from simquery.errors import ClusterUnreachableError, DataVersionError, DiskSpaceError, JavaError, NodeError, PortError
from simquery.node import LocalNode, local
from simquery.settings import Settings


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can enter, which pytest's own is not when root runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def jdk(folder: Path) -> Path:
    (folder / "jdk" / "bin").mkdir(parents=True)
    (folder / "jdk" / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (folder / "jdk" / "bin" / "java").chmod(0o755)
    (folder / "jdk" / "release").write_text('JAVA_VERSION="21.0.1"\nMODULES="java.base jdk.jdi"\n')
    return folder / "jdk"


@pytest.fixture
def server(folder: Path) -> Path:
    """Make a fake Elasticsearch 9.4.3 that ends as soon as it is started."""
    home = folder / "server"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "elasticsearch-9.4.3.jar").touch()
    (home / "bin").mkdir()
    scripts = {
        "elasticsearch": 'echo "java.lang.IllegalStateException: the disk is on fire"; exit 1',
        "elasticsearch-keystore": 'cat > "$ES_PATH_CONF/elasticsearch.keystore"',
    }
    for name, script in scripts.items():
        (home / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (home / "bin" / name).chmod(0o755)
    return home


@pytest.fixture
def settings(folder: Path, server: Path, jdk: Path) -> Settings:
    return Settings(home=folder / "home", cache=folder / "cache", elasticsearch_home=server, java_home=jdk)


def test_a_node_that_never_ran(settings: Settings) -> None:
    node = LocalNode(settings)
    status = node.status()
    assert not status.running
    assert (status.url, status.pid, status.version) == (None, None, None)
    assert status.home == settings.home
    assert node.down() is False
    with pytest.raises(NodeError, match="simquery up"):
        node.credentials()
    for settings_of in (node.connection, node.administration):
        with pytest.raises(ClusterUnreachableError, match="not running: start it with 'simquery up'"):
            settings_of()
    assert not settings.home.exists()


def test_a_server_that_dies_is_told_with_its_last_words(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    node = LocalNode(settings)
    with pytest.raises(NodeError, match="the disk is on fire") as error:
        node.up(lines.append)
    assert "console.log" in str(error.value)
    assert not node.status().running

    password = (settings.home / "password").read_text().strip()
    assert len(password) >= 32
    assert (settings.home / "password").stat().st_mode & 0o777 == 0o600
    assert (settings.home / "config" / "elasticsearch.keystore").read_text().strip() == password
    status = json.dumps(asdict(node.status()), default=str)
    for text in (str(error.value), status, caplog.text, *lines, (settings.home / "node.json").read_text()):
        assert password not in text


def test_port_in_use(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=str(port)):
            LocalNode(settings.model_copy(update={"port": port})).up()


def test_a_port_that_is_taken_while_the_server_starts_is_replaced(settings: Settings, server: Path) -> None:
    taken = 'echo "ERROR org.elasticsearch.http.BindHttpException: Failed to bind to 127.0.0.1"; exit 1'
    then = 'test -e "$ES_PATH_CONF/tried" || { touch "$ES_PATH_CONF/tried"; ' + taken + "; }"
    program = server / "bin" / "elasticsearch"
    program.write_text(program.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{then}\n"))
    lines: list[str] = []
    with pytest.raises(NodeError, match="the disk is on fire"):
        LocalNode(settings).up(lines.append)
    assert [line.split()[0] for line in lines] == ["starting", "another", "starting"]

    (settings.home / "config" / "tried").unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(PortError, match="Failed to bind"):
        LocalNode(settings.model_copy(update={"port": port})).up()


def test_no_room_for_data(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SPACE_FOR_DATA", 10**18)
    with pytest.raises(DiskSpaceError, match="the node's data"):
        LocalNode(settings).up()


def test_data_of_a_newer_version(settings: Settings) -> None:
    settings.home.mkdir(mode=0o711)
    (settings.home / "data.json").write_text('{"version": "9.5.0"}')
    with pytest.raises(DataVersionError, match=r"written by Elasticsearch 9\.5\.0, but 9\.4\.3"):
        LocalNode(settings).up()
    assert not (settings.home / "data").exists()


def test_an_unsuitable_jdk(settings: Settings, jdk: Path) -> None:
    (jdk / "release").write_text('JAVA_VERSION="17.0.1"\nMODULES="java.base jdk.jdi"\n')
    with pytest.raises(JavaError, match="Java 17"):
        LocalNode(settings).up()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's node runs as another user")
def test_a_home_that_the_servers_user_cannot_enter(settings: Settings, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    home = folder / "closed" / "home"
    with pytest.raises(NodeError, match=f"cannot enter '{folder / 'closed'}'"):
        LocalNode(settings.model_copy(update={"home": home})).up()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_another_user(settings: Settings) -> None:
    for name in ("data", "logs"):
        (settings.home / name).mkdir(parents=True)
    settings.home.chmod(0o711)
    os.chown(settings.home / "data", 60950, 60950)
    with pytest.raises(NodeError, match="another user's node"):
        LocalNode(settings).up()


def test_two_at_a_time_wait_for_each_other(settings: Settings) -> None:
    settings.home.mkdir(mode=0o711)
    script = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", script, str(settings.home / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        if other.stdin is None or other.stdout is None:
            raise RuntimeError("no pipes")
        assert other.stdout.readline() == "locked\n"
        lines: list[str] = []

        def report(line: str) -> None:
            lines.append(line)
            if "waiting" in line and other.stdin is not None:
                other.stdin.write("go on\n")
                other.stdin.flush()

        with pytest.raises(NodeError, match="did not start"):
            LocalNode(settings).up(report)
    assert lines[0].startswith("waiting for another simquery that is starting or stopping the node")
