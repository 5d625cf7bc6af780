"""The node's small parts: configuration texts, ports, health, versions, users, the reasons of a failed start."""

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from simquery.errors import DataVersionError, NodeError, PortError
from simquery.node.account import FIRST_FREE_UID, Account, server_account
from simquery.node.certificate import make_certificate
from simquery.node.config import elasticsearch_yml, own_jvm_options
from simquery.node.health import ask, is_settled, node_client
from simquery.node.layout import Layout, Record
from simquery.node.port import DEFAULT_PORT, choose_port
from simquery.node.process import ProcessEngine, last_words, marker
from simquery.node.versions import check_data_version, read_data_version, write_data_version
from tests.conftest import unprivileged


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


# Configuration


def test_the_server_is_on_loopback_with_security() -> None:
    lines = elasticsearch_yml(Path("/a b/data"), Path("/a b/logs"), 9201, {"lang-painless"}).splitlines()
    assert 'network.host: "127.0.0.1"' in lines
    assert "http.port: 9201" in lines
    assert "xpack.security.enabled: true" in lines
    assert "xpack.security.transport.ssl.enabled: true" in lines
    assert "xpack.security.http.ssl.enabled: true" in lines
    assert 'xpack.security.http.ssl.key: "node.key"' in lines
    # Without it, Java's own list of authorities would say which nodes to trust.
    assert 'xpack.security.transport.ssl.certificate_authorities: "node.crt"' in lines
    assert "action.destructive_requires_name: true" in lines
    assert 'path.data: "/a b/data"' in lines


def test_settings_of_missing_modules_are_left_out() -> None:
    few = elasticsearch_yml(Path("/d"), Path("/l"), 9200, {"lang-painless"})
    all_of_them = elasticsearch_yml(Path("/d"), Path("/l"), 9200, {"x-pack-ml", "ingest-geoip"})
    assert "xpack.ml" not in few
    assert "geoip" not in few
    assert "xpack.ml.enabled: false" in all_of_them
    assert "ingest.geoip.downloader.enabled: false" in all_of_them


def test_heap_and_marker_are_arguments_of_java() -> None:
    assert own_jvm_options("3g", "-Dx=y").splitlines()[:3] == ["-Xms3g", "-Xmx3g", "-Dx=y"]


# Ports and answers


def test_a_port_that_is_asked_for_and_taken_is_an_error(taken_port: int) -> None:
    with pytest.raises(PortError, match=f"Port {taken_port} .* in use .*SIMQUERY_PORT"):
        choose_port(taken_port)


def test_a_port_that_is_asked_for_and_free_is_taken(taken_port: int) -> None:
    free = choose_port(None)
    assert choose_port(free) == free
    assert free != taken_port


def test_another_port_where_the_default_is_taken() -> None:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", DEFAULT_PORT))
            listener.listen()
        except OSError:
            pass  # taken by somebody else, which is as good
        port = choose_port(None)
        assert port not in {0, DEFAULT_PORT}
        assert choose_port(port) == port


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    (tmp_path / "node.crt").write_text(make_certificate()[1])
    return tmp_path / "node.crt"


def test_a_silent_port_is_no_answer(taken_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simquery.node.health.SECONDS_FOR_ANSWER", 0.1)
    for port in (taken_port, 1):
        with node_client(f"https://127.0.0.1:{port}", certificate, "elastic", "x") as client:
            assert ask(client) is None


YELLOW = {"status": "yellow", "initializing_shards": 0, "relocating_shards": 0, "number_of_pending_tasks": 0}


@pytest.mark.parametrize(
    ("health", "settled"),
    [
        ({"status": "green"}, True),
        ({"status": "red"}, False),
        (YELLOW | {"unassigned_primary_shards": 0}, True),
        (YELLOW | {"unassigned_primary_shards": 1}, False),
        (YELLOW | {"unassigned_primary_shards": 0, "initializing_shards": 2}, False),
        (YELLOW, False),
        ({}, False),
    ],
)
def test_green_or_yellow_for_want_of_a_second_node(health: dict[str, object], settled: bool) -> None:
    assert is_settled(health) is settled


# Versions of the data


@pytest.mark.parametrize(
    ("written", "server"), [(None, "9.4.3"), ("9.4.3", "9.4.3"), ("9.2.0", "9.10.0"), ("8.19.1", "9.4.3")]
)
def test_data_that_can_be_read(written: str | None, server: str) -> None:
    check_data_version(written, server)


@pytest.mark.parametrize(
    ("written", "server", "told"),
    [("9.10.0", "9.4.3", "older"), ("10.0.0", "9.4.3", "older"), ("7.17.28", "9.4.3", r"Start it with 8\.x first")],
)
def test_data_that_cannot_be_read(written: str, server: str, told: str) -> None:
    with pytest.raises(DataVersionError, match=told):
        check_data_version(written, server)


@pytest.mark.parametrize("text", ["", "[]", '{"version": null}', '{"version": "nine"}'])
def test_a_broken_record_of_the_version_does_not_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    assert read_data_version(tmp_path / "data.json") is None


def test_the_version_of_the_data_is_kept(tmp_path: Path) -> None:
    assert read_data_version(tmp_path / "data.json") is None
    write_data_version(tmp_path / "data.json", "9.4.3")
    assert read_data_version(tmp_path / "data.json") == "9.4.3"


# Users


def test_the_servers_user(tmp_path: Path) -> None:
    account = server_account(tmp_path / "none-yet")
    if os.geteuid() != 0:
        assert account == Account(os.geteuid(), os.getegid())
        assert not account.drops_root
    else:
        assert account.uid >= FIRST_FREE_UID
        assert account.uid not in {entry.pw_uid for entry in pwd.getpwall()}
        assert account.popen_options["extra_groups"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_owner_of_the_data_stays_the_servers_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 60999, 60998)
    assert server_account(tmp_path) == Account(60999, 60998)


def test_the_caller_is_not_blocked_anywhere(tmp_path: Path) -> None:
    assert Account(os.geteuid(), os.getegid()).blocked_by(tmp_path / "not-even-there") is None


# Processes


def test_a_pid_file_of_a_node_that_is_long_dead_means_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.tmp.mkdir()
    engine = ProcessEngine(layout)
    assert engine.pid() is None
    for content in (str(os.getpid()), "1", "999999999", "", "not a number"):
        layout.pid.write_text(content)
        assert engine.pid() is None, content
        assert not engine.running()


def test_the_marker_names_the_home(tmp_path: Path) -> None:
    assert marker(tmp_path) == f"-Dsimquery.node={tmp_path}"


OUTPUT = """\
[2026-01-01T00:00:00,000][INFO ][o.e.n.Node] version[9.4.3]
[2026-01-01T00:00:01,000][ERROR][o.e.b.Elasticsearch] fatal exception while booting Elasticsearch
java.lang.IllegalStateException: failed to obtain node locks, tried [/data]
\tat org.elasticsearch.env.NodeEnvironment.<init>(NodeEnvironment.java:291)
\t... 10 more
Caused by: java.io.IOException: failed to obtain lock
\tat org.elasticsearch.env.NodeEnvironment$NodeLock.<init>(NodeEnvironment.java:240)
"""


def test_last_words_are_the_errors_and_not_the_stack() -> None:
    words = last_words(OUTPUT).splitlines()
    assert len(words) == 3
    assert words[1] == "java.lang.IllegalStateException: failed to obtain node locks, tried [/data]"
    assert words[2].startswith("Caused by: ")


def test_last_words_of_a_java_that_found_no_memory() -> None:
    words = last_words(
        "java.lang.RuntimeException: starting java failed with [1]\noutput:\n#\n"
        "# There is insufficient memory for the Java Runtime Environment to continue.\nerror:\n"
    )
    assert words.splitlines()[-1] == "There is insufficient memory for the Java Runtime Environment to continue."


def test_last_words_of_a_server_that_named_no_error() -> None:
    assert last_words("one\n\ntwo\nthree\n", limit=2) == "two\nthree"
    assert last_words("") == ""


# Folders and records


def test_a_record_is_read_back_and_a_broken_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    assert Record.read(path) is None
    record = Record("9.4.3", "maven", 9200, "1g")
    record.write(path)
    assert Record.read(path) == record
    path.write_text('{"version": "9.4.3"}')
    assert Record.read(path) is None


def test_a_record_is_closed_to_others_and_one_of_an_older_version_speaks_no_tls(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    Record("9.4.3", "maven", 9201, "1g", tls=True).write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = Record.read(path)
    assert kept is not None
    assert kept.url == "https://127.0.0.1:9201"
    path.write_text('{"version": "9.4.3", "source": "maven", "port": 9201, "heap": "1g"}')
    older = Record.read(path)
    assert older is not None
    assert (older.tls, older.url) == (False, "http://127.0.0.1:9201")


def test_a_record_of_another_users_node_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    Record("9.4.3", "maven", 9201, "1g", tls=True).write(path)
    path.chmod(0o000)
    with unprivileged(tmp_path), pytest.raises(NodeError, match="belongs to another user"):
        Record.read(path)


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodeError, match="cannot be created"):
        Layout(tmp_path / "file" / "home").make_home(Account(os.geteuid(), os.getegid()))


def test_the_folders_are_closed_to_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    account = Account(os.geteuid(), os.getegid())
    layout.make_home(account)
    layout.make_folders(account)
    for folder in (layout.home, layout.data, layout.logs, layout.tmp, layout.config):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
