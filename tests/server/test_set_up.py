"""The set-up of the Compose project, run for real: certificates that servers and clients accept, keys that suffice."""

import http.server
import json
import os
import ssl
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import AuthorizationException, Elasticsearch, NotFoundError
from pydantic import AnyHttpUrl

from simquery.cluster import connect
from simquery.errors import ClusterUnreachableError, KibanaError, NotElasticsearchError
from simquery.kibana import Kibana, roles
from simquery.settings import Settings

SCRIPT = Path(__file__).parents[2] / "docker" / "set_up.py"


def set_up(step: str, root: Path, url: str, nodes: str = "elasticsearch") -> str:
    own = {"SIMQUERY_SET_UP": str(root), "SIMQUERY_SET_UP_URL": url, "SIMQUERY_SET_UP_NODES": nodes}
    environment = os.environ | own
    done = subprocess.run(
        [sys.executable, str(SCRIPT), step], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set-up")
    set_up("certificates", root, "https://elasticsearch:9200")
    return root


def test_certificates_are_made_once(prepared: Path) -> None:
    before = contents(prepared)
    assert set(before) == {
        "own/ca.key",
        "own/ca.crt",
        "own/elastic-password",
        "trust/ca.crt",
        "elasticsearch/ca.crt",
        "elasticsearch/elastic-password",
        "elasticsearch/server.crt",
        "elasticsearch/server.key",
        "kibana/server.crt",
        "kibana/server.key",
    }
    set_up("certificates", prepared, "https://elasticsearch:9200")
    assert contents(prepared) == before


def test_each_node_of_a_cluster_has_a_certificate_for_its_name_and_the_common_one(tmp_path: Path) -> None:
    nodes = "elasticsearch,elasticsearch-2"
    set_up("certificates", tmp_path, "https://elasticsearch:9200", nodes)
    for node in nodes.split(","):
        for name in (node, "elasticsearch", "localhost"):
            authority = ["-CAfile", str(tmp_path / "trust" / "ca.crt")]
            checked = ["openssl", "verify", *authority, "-verify_hostname", name, str(tmp_path / node / "server.crt")]
            assert subprocess.run(checked, capture_output=True, text=True, check=False).returncode == 0, name
        assert (tmp_path / node / "elastic-password").read_text() == (tmp_path / "own/elastic-password").read_text()


def test_only_certificates_of_nodes_let_a_node_join_a_cluster(prepared: Path) -> None:
    for server, joins in (("elasticsearch", True), ("kibana", False)):
        authority = ["-CAfile", str(prepared / "trust" / "ca.crt")]
        checked = ["openssl", "verify", *authority, "-purpose", "sslclient", str(prepared / server / "server.crt")]
        done = subprocess.run(checked, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is joins, done.stderr


def test_secrets_are_readable_by_their_owner_alone(prepared: Path) -> None:
    for path in prepared.rglob("*"):
        if path.is_file() and path.suffix != ".crt":
            assert stat.S_IMODE(path.stat().st_mode) == 0o400, path


@pytest.fixture
def tls_address(prepared: Path) -> Iterator[AnyHttpUrl]:
    """A server with Kibana's certificate, which answers everything with an empty object."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(prepared / "kibana" / "server.crt", prepared / "kibana" / "server.key")
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield AnyHttpUrl(f"https://localhost:{server.server_port}")
        server.shutdown()
        thread.join()


def test_clients_that_know_the_authority_accept_the_certificates(prepared: Path, tls_address: AnyHttpUrl) -> None:
    trusting = Settings(ca_file=prepared / "trust" / "ca.crt", username="elastic", password="x", url=tls_address)
    with Kibana(tls_address, trusting) as kibana, pytest.raises(KibanaError, match="did not import"):
        kibana.install([])  # the answer came: it is only not Kibana's
    with pytest.raises(NotElasticsearchError):
        connect(trusting)


def test_clients_that_do_not_know_the_authority_say_what_to_set(prepared: Path, tls_address: AnyHttpUrl) -> None:
    stranger = Settings(username="elastic", password="x", url=tls_address)
    with Kibana(tls_address, stranger) as kibana, pytest.raises(KibanaError, match="SIMQUERY_CA_FILE"):
        kibana.install([])
    with pytest.raises(ClusterUnreachableError, match="SIMQUERY_CA_FILE"):
        connect(stranger)


@pytest.fixture
def made(prepared: Path, client: Elasticsearch, cluster: Settings) -> Iterator[tuple[Path, str]]:
    """The second step on the test's own cluster, and what it said."""
    assert cluster.password is not None
    password = prepared / "own" / "elastic-password"
    password.unlink()
    password.write_text(cluster.password.get_secret_value())
    yield prepared, set_up("cluster", prepared, str(cluster.url))
    client.security.delete_user(username="analyst")
    client.security.invalidate_api_key(name="simquery-indexer")
    for role in roles():
        client.security.delete_role(name=role)


def test_the_cluster_is_set_up_once_and_says_no_secret(
    made: tuple[Path, str], client: Elasticsearch, cluster: Settings
) -> None:
    root, said = made
    before = contents(root)
    said += set_up("cluster", root, str(cluster.url))
    assert contents(root) == before
    settings = tomllib.loads(before["indexer/simquery.toml"])
    for secret in (settings["api_key"], before["own/analyst-password"], before["own/elastic-password"]):
        assert secret not in said
    assert set(client.security.get_role().body) >= set(roles())
    (key,) = client.security.get_api_key(name="simquery-indexer", active_only=True)["api_keys"]
    (rights,) = key["role_descriptors"].values()
    assert [names for each in rights["indices"] for names in each["names"]] == ["simquery-*"]
    with connect(Settings(url=cluster.url, api_key=settings["api_key"])) as indexer:
        assert indexer.security.authenticate()["authentication_type"] == "api_key"

    kibana = dict(line.split(": ", 1) for line in before["kibana/kibana.yml"].splitlines())
    token = json.loads(kibana["elasticsearch.serviceAccountToken"])
    with Elasticsearch(str(cluster.url), bearer_auth=token) as as_kibana:
        assert as_kibana.security.authenticate()["username"] == "elastic/kibana"
    with Elasticsearch(str(cluster.url), basic_auth=("analyst", before["own/analyst-password"])) as analyst:
        with pytest.raises(NotFoundError):
            analyst.get(index="simquery-results", id="nothing")
        with pytest.raises(AuthorizationException):
            analyst.indices.delete(index="simquery-results")
