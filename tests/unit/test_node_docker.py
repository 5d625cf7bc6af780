"""The Docker source without a Docker daemon: what would be handed to Compose, and how its absence is told."""

import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import SecretStr

from simquery.errors import DownloadError, NodeError
from simquery.node.account import Account
from simquery.node.config import CERTIFICATE, KEY
from simquery.node.docker import (
    DockerEngine,
    check_available,
    compose_variables,
    container_environment,
    project_name,
    pull,
)
from simquery.node.layout import Launch, Layout


def put_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_every_variable_of_the_compose_file_is_given_a_value(tmp_path: Path) -> None:
    text = (files("simquery.node") / "compose.yml").read_text(encoding="utf-8")
    variables = compose_variables("9.4.3", Layout(tmp_path), Account(1000, 1000), 9201)
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(variables)
    assert variables["SIMQUERY_NODE_USER"] == "1000:0"


def test_the_port_is_published_on_loopback_only() -> None:
    text = (files("simquery.node") / "compose.yml").read_text(encoding="utf-8")
    assert "- 127.0.0.1:${SIMQUERY_NODE_PORT}:9200" in text


def test_the_environment_holds_password_heap_and_settings() -> None:
    lines = container_environment("secret", "2g").splitlines()
    assert "ELASTIC_PASSWORD=secret" in lines
    assert any(line.startswith("ES_JAVA_OPTS=-Xms2g -Xmx2g ") for line in lines)
    assert "xpack.security.enabled=true" in lines
    assert "discovery.type=single-node" in lines
    assert "ingest.geoip.downloader.enabled=false" in lines
    assert "transport.host=127.0.0.1" in lines
    assert "xpack.security.http.ssl.enabled=true" in lines
    assert "xpack.security.http.ssl.key=node.key" in lines


def test_the_container_gets_key_and_certificate_where_the_settings_name_them() -> None:
    text = (files("simquery.node") / "compose.yml").read_text(encoding="utf-8")
    for variable, file in {"KEY": KEY, "CERTIFICATE": CERTIFICATE}.items():
        mount = f"source: ${{SIMQUERY_NODE_{variable}}}\n        target: /usr/share/elasticsearch/config/{file}\n"
        assert f"{mount}        read_only: true" in text


def test_each_home_has_a_project_of_its_own(tmp_path: Path) -> None:
    assert project_name(tmp_path / "a") != project_name(tmp_path / "b")
    assert re.fullmatch(r"simquery-[0-9a-f]{12}", project_name(tmp_path / "a"))


def test_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="not installed"):
        check_available()


def test_docker_without_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path / "bin", "exit 1", monkeypatch)
    with pytest.raises(DownloadError, match="no compose"):
        check_available()


def test_compose_without_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path / "bin", 'test "$1" = compose', monkeypatch)
    with pytest.raises(DownloadError, match="no Docker daemon"):
        check_available()


def test_an_image_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path / "bin", "echo 'warning' >&2; echo 'no such host' >&2; exit 1", monkeypatch)
    with pytest.raises(DownloadError, match=r"^no such host$"):
        pull("9.4.3", lambda _: None)


def test_the_password_is_handed_over_in_a_closed_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path / "bin", f'echo "$@" >> {tmp_path}/commands; env >> {tmp_path}/environment', monkeypatch)
    layout = Layout(tmp_path)
    engine = DockerEngine(layout)
    launch = Launch(Account(os.geteuid(), os.getegid()), 9201, "1g", SecretStr("very-secret"))
    engine.start("9.4.3", launch)
    engine.stop()
    assert layout.container_environment.stat().st_mode & 0o777 == 0o600
    assert "very-secret" in layout.container_environment.read_text()
    seen = (tmp_path / "commands").read_text() + (tmp_path / "environment").read_text()
    assert "very-secret" not in seen
    assert "up --detach" in seen
    assert "SIMQUERY_NODE_PORT=9201" in seen
    assert "down --timeout" in seen


def test_what_docker_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path / "bin", "echo 'port is already allocated' >&2; exit 1", monkeypatch)
    launch = Launch(Account(os.geteuid(), os.getegid()), 9201, "1g", SecretStr("very-secret"))
    with pytest.raises(NodeError, match="port is already allocated"):
        DockerEngine(Layout(tmp_path)).start("9.4.3", launch)
    assert not DockerEngine(Layout(tmp_path)).running()
