"""Where the server comes from: a real web server in place of Elastic's, a real zip in place of Maven Central's."""

import hashlib
import io
import os
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from simquery.errors import DiskSpaceError, DownloadError, JavaError, NodeError
from simquery.node import archive as elastic_archive
from simquery.node.account import Account
from simquery.node.archive import archive_name, fetch_archive
from simquery.node.cache import VERSION
from simquery.node.distribution import Distribution, open_distribution
from simquery.node.java import Jdk
from simquery.node.maven import fetch_with_maven, zip_in
from simquery.node.sources import find_server

ME = Account(os.geteuid(), os.getegid())
NOWHERE = "http://127.0.0.1:1"


def silent(_: str) -> None:
    pass


def no_jdk() -> NoReturn:
    raise JavaError("Elasticsearch needs a JDK 21 or newer")


@pytest.fixture(autouse=True)
def _no_docker_no_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may fetch a real server."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))


def make_server(home: Path, version: str = VERSION) -> Path:
    (home / "lib").mkdir(parents=True)
    (home / "lib" / f"elasticsearch-{version}.jar").write_bytes(b"jar")
    (home / "lib" / "elasticsearch-core-9.4.3.jar").write_bytes(b"jar")
    return home


# An installation of the user's own


def test_the_users_installation_comes_first(tmp_path: Path) -> None:
    home = make_server(tmp_path / "mine", "9.2.1")
    make_server(tmp_path / "cache" / f"elasticsearch-{VERSION}-archive")
    server = find_server(home, tmp_path / "cache", ME, silent, require_jdk=silent_jdk)
    assert server == Distribution(home, "installation", "9.2.1")


def silent_jdk() -> None:
    pass


def test_an_installation_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="does not contain Elasticsearch"):
        find_server(tmp_path, tmp_path, ME, silent, require_jdk=silent_jdk)


def test_an_installation_that_is_too_old(tmp_path: Path) -> None:
    home = make_server(tmp_path / "mine", "8.11.4")
    with pytest.raises(NodeError, match=r"8\.11\.4; simquery needs 9\.\d"):
        find_server(home, tmp_path, ME, silent, require_jdk=silent_jdk)


def test_a_server_fetched_before_is_used_again(tmp_path: Path) -> None:
    home = make_server(tmp_path / f"elasticsearch-{VERSION}-maven")
    server = find_server(None, tmp_path, ME, silent, require_jdk=no_jdk, base_url=NOWHERE)
    assert server == Distribution(home, "maven", VERSION)


# No network


def test_no_source_names_each_and_what_to_do(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(DownloadError) as error:
        find_server(None, tmp_path / "cache", ME, lines.append, require_jdk=silent_jdk, base_url=NOWHERE)
    message = str(error.value)
    assert "Docker Compose: docker is not installed." in message
    assert "Elastic's archive: 'http://127.0.0.1:1/" in message
    assert "Maven: there is no mvn on PATH." in message
    assert "SIMQUERY_ELASTICSEARCH_HOME" in message
    assert len(lines) == 3


def test_a_missing_jdk_is_told_before_maven_fetches_anything(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Maven: Elasticsearch needs a JDK 21"):
        find_server(None, tmp_path / "cache", ME, silent, require_jdk=no_jdk, base_url=NOWHERE)


# Elastic's archive


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", f"elasticsearch-{VERSION}-linux-x86_64.tar.gz"),
        ("linux", "aarch64", f"elasticsearch-{VERSION}-linux-aarch64.tar.gz"),
        ("darwin", "arm64", f"elasticsearch-{VERSION}-darwin-aarch64.tar.gz"),
    ],
)
def test_archive_names(system: str, machine: str, name: str) -> None:
    assert archive_name(system, machine) == name


def test_no_archive_for_strange_machines() -> None:
    with pytest.raises(DownloadError, match="sparc64"):
        archive_name("linux", "sparc64")


@pytest.fixture
def elastic(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server that publishes a small archive and its checksum, as Elastic does."""
    folder = tmp_path / "web"
    folder.mkdir()
    archive = folder / archive_name()
    with tarfile.open(archive, "w:gz") as tar:
        for name in (f"lib/elasticsearch-{VERSION}.jar", "jdk/bin/java", "modules/x-pack-ml/x.jar"):
            member = tarfile.TarInfo(f"elasticsearch-{VERSION}/{name}")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    digest = hashlib.sha512(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha512").write_text(f"{digest}  {archive.name}")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


@pytest.fixture
def _small_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_archive, "ARCHIVE_SPACE", 1_000_000)


@pytest.mark.usefixtures("_small_archive")
def test_fetch_archive(elastic: tuple[str, Path], tmp_path: Path) -> None:
    lines: list[str] = []
    server = find_server(None, tmp_path / "cache", ME, lines.append, require_jdk=no_jdk, base_url=elastic[0])
    assert isinstance(server, Distribution)
    assert (server.source, server.version) == ("archive", VERSION)
    assert server.bundled_jdk == server.home / "jdk"
    assert server.modules == {"x-pack-ml"}
    assert any("SHA-512 as published" in line for line in lines)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [server.home.name, "lock"]


@pytest.mark.usefixtures("_small_archive")
def test_a_wrong_checksum_is_refused_and_nothing_is_kept(elastic: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = elastic
    with (folder / archive_name()).open("ab") as stream:
        stream.write(b"one byte too many")
    with pytest.raises(DownloadError, match="SHA-512"):
        fetch_archive(tmp_path / "cache", silent, url)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_room_for_the_archive(elastic: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_archive, "ARCHIVE_SPACE", 10**18)
    with pytest.raises(DiskSpaceError, match="Elastic's archive"):
        fetch_archive(tmp_path / "cache", silent, elastic[0])


# Maven


def make_repository(repository: Path) -> str:
    """Put a zip like SonarQube's into a local Maven repository, and return its SHA-256."""
    bundle = zip_in(repository)
    bundle.parent.mkdir(parents=True)
    with zipfile.ZipFile(bundle, "w") as content:
        content.writestr(f"sonarqube-26/elasticsearch/lib/elasticsearch-{VERSION}.jar", b"jar")
        content.writestr("sonarqube-26/lib/other.jar", b"jar")
    return hashlib.sha256(bundle.read_bytes()).hexdigest()


def test_a_zip_that_the_user_has_is_read_and_left_there(tmp_path: Path) -> None:
    sha256 = make_repository(tmp_path / "m2")
    (tmp_path / "cache").mkdir()
    server = fetch_with_maven(tmp_path / "cache", silent, tmp_path / "m2", sha256)
    assert (server.source, server.version) == ("maven", VERSION)
    assert zip_in(tmp_path / "m2").is_file()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [server.home.name]
    assert not list(server.home.rglob("other.jar"))


def test_a_zip_with_another_checksum_is_refused(tmp_path: Path) -> None:
    make_repository(tmp_path / "m2")
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch_with_maven(tmp_path / "cache", silent, tmp_path / "m2")
    assert list((tmp_path / "cache").iterdir()) == []


def put_maven(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_maven_fills_a_repository_of_its_own_that_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = make_repository(tmp_path / "central")
    put_maven(
        tmp_path / "bin",
        f'for word; do case "$word" in -Dmaven.repo.local=*) cp -r {tmp_path}/central/. "${{word#*=}}";; esac; done',
        monkeypatch,
    )
    server = fetch_with_maven(tmp_path / "cache", silent, tmp_path / "empty", sha256)
    assert server.version == VERSION
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [server.home.name]
    assert not (tmp_path / "empty").exists()


def test_what_maven_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path / "bin", "echo '[ERROR] Unknown host central.example'; exit 1", monkeypatch)
    with pytest.raises(DownloadError, match=r"Unknown host central\.example"):
        fetch_with_maven(tmp_path / "cache", silent, tmp_path / "empty")


# The commands


def test_scripts_are_used_where_they_exist(tmp_path: Path) -> None:
    home = make_server(tmp_path / "server")
    jdk = Jdk(tmp_path / "jdk", 21, complete=True)
    server = open_distribution(home, "installation")
    command = server.server_command(jdk, tmp_path / "pid")
    assert command[0] == str(jdk.binary)
    assert command[-3:] == ["-d", "-p", str(tmp_path / "pid")]
    assert server.keystore_command(jdk, tmp_path, "list")[-2:] == [
        "org.elasticsearch.launcher.CliToolLauncher",
        "list",
    ]
    (home / "bin").mkdir()
    for name in ("elasticsearch", "elasticsearch-keystore"):
        (home / "bin" / name).touch()
    assert server.server_command(jdk, tmp_path / "pid") == [
        str(home / "bin" / "elasticsearch"),
        "-d",
        "-p",
        str(tmp_path / "pid"),
    ]
    assert server.keystore_command(jdk, tmp_path, "list") == [
        str(home / "bin" / "elasticsearch-keystore"),
        "list",
    ]


def test_the_callers_environment_stays_outside(tmp_path: Path) -> None:
    server = open_distribution(make_server(tmp_path / "server"), "archive")
    jdk = Jdk(tmp_path / "jdk", 21, complete=True)
    outer = {"PATH": "/bin", "LANG": "C.UTF-8", "SIMQUERY_PASSWORD": "x", "JAVA_TOOL_OPTIONS": "-agentlib:spy"}
    environment = server.environment(jdk, tmp_path / "config", tmp_path / "tmp", outer)
    assert environment["PATH"] == "/bin"
    assert not {"SIMQUERY_PASSWORD", "JAVA_TOOL_OPTIONS"} & set(environment)
    assert environment["ES_JAVA_HOME"] == environment["JAVA_HOME"] == str(jdk.home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_the_servers_user_cannot_enter_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o711)
        closed = Path(folder) / "closed"
        home = make_server(closed / "server")
        stranger = Account(60901, 60901)
        assert stranger.blocked_by(home) is None
        closed.chmod(0o700)
        with pytest.raises(NodeError, match=f"cannot enter '{closed}'"):
            find_server(home, Path(folder), stranger, silent, require_jdk=silent_jdk)
