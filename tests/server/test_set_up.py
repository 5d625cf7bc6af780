"""The set-up of the Compose project, run for real: certificates that servers and clients accept, keys that suffice."""

import http.server
import json
import os
import shutil
import ssl
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AuthorizationException, Elasticsearch, NotFoundError
from pydantic import AnyHttpUrl

from simquery.cluster import connect
from simquery.errors import ClusterUnreachableError, KibanaError, NotElasticsearchError
from simquery.kibana import Kibana, roles
from simquery.settings import Settings

SCRIPT = Path(__file__).parents[2] / "docker" / "set_up.py"


def environment(root: Path, url: str, **more: str) -> dict[str, str]:
    own = {"SIMQUERY_SET_UP": str(root), "SIMQUERY_SET_UP_URL": url}
    return os.environ | own | {f"SIMQUERY_SET_UP_{name.upper()}": value for name, value in more.items()}


def set_up(step: str, root: Path, url: str, **more: str) -> str:
    command = [sys.executable, str(SCRIPT), step]
    done = subprocess.run(command, env=environment(root, url, **more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def verified(root: Path, server: str, name: str) -> bool:
    """Whether a client that trusts the authority accepts the server's certificate under a name."""
    option = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
    authority = ["-CAfile", str(root / "trust" / "ca.crt")]
    command = ["openssl", "verify", *authority, option, name, str(root / server / "server.crt")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def loads(root: Path, server: str) -> bool:
    """Whether the server could start with its certificate and key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            root / server / "server.crt", root / server / "server.key"
        )
    except ssl.SSLError:
        return False
    return True


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
    set_up("certificates", tmp_path, "https://elasticsearch:9200", nodes=nodes)
    for node in nodes.split(","):
        for name in (node, "elasticsearch", "localhost"):
            assert verified(tmp_path, node, name), name
        assert (tmp_path / node / "elastic-password").read_text() == (tmp_path / "own/elastic-password").read_text()


@pytest.mark.parametrize("name", ["kibana.lab", "192.0.2.7"])
def test_kibanas_certificate_follows_the_name_that_browsers_use(tmp_path: Path, name: str) -> None:
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    elasticsearchs = (tmp_path / "elasticsearch" / "server.crt").read_text()
    assert not verified(tmp_path, "kibana", name)
    set_up("certificates", tmp_path, "https://elasticsearch:9200", kibana=name)
    assert all(verified(tmp_path, "kibana", each) for each in (name, "kibana", "localhost"))
    assert (tmp_path / "elasticsearch" / "server.crt").read_text() == elasticsearchs


@pytest.mark.parametrize("lost", ["own/ca.crt", "elasticsearch/server.crt", "kibana/server.key"])
def test_a_run_that_was_killed_between_key_and_certificate_is_completed_by_the_next(tmp_path: Path, lost: str) -> None:
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    key = (tmp_path / "own" / "ca.key").read_text()
    (tmp_path / lost).unlink()
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    assert (tmp_path / "own" / "ca.key").read_text() == key
    for server in ("elasticsearch", "kibana"):
        assert loads(tmp_path, server)
        assert verified(tmp_path, server, server)


def test_a_new_authority_gives_all_servers_new_certificates(tmp_path: Path) -> None:
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    (tmp_path / "own" / "ca.key").unlink()
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    assert all(loads(tmp_path, server) and verified(tmp_path, server, server) for server in ("elasticsearch", "kibana"))


def test_a_key_that_is_not_the_certificates_is_replaced_with_it(tmp_path: Path) -> None:
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    shutil.copy(tmp_path / "elasticsearch" / "server.key", tmp_path / "kibana" / "foreign.key")
    (tmp_path / "kibana" / "foreign.key").replace(tmp_path / "kibana" / "server.key")
    assert not loads(tmp_path, "kibana")
    set_up("certificates", tmp_path, "https://elasticsearch:9200")
    assert loads(tmp_path, "kibana")


def test_evidence_that_cannot_be_read_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert set_up("evidence", tmp_path, "https://elasticsearch:9200", evidence=str(tmp_path)) == ""
    gone = environment(tmp_path, "https://elasticsearch:9200", evidence=str(tmp_path / "gone"))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "evidence"], env=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "EVIDENCE" in done.stderr
    assert "setfacl" in done.stderr
    assert "Traceback" not in done.stderr


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


def replace(file: Path, content: str) -> None:
    file.unlink()
    file.write_text(content)


def as_user(cluster: Settings, **credentials: Any) -> Elasticsearch:
    return Elasticsearch(str(cluster.url), ca_certs=str(cluster.ca_file), **credentials)


@pytest.fixture
def root(prepared: Path, cluster: Settings, tmp_path: Path) -> Path:
    """What the first step makes, but for the test's own node, which has its own certificate and password."""
    assert cluster.password is not None
    assert cluster.ca_file is not None
    root = shutil.copytree(prepared, tmp_path / "set-up")
    replace(root / "own" / "elastic-password", cluster.password.get_secret_value())
    replace(root / "trust" / "ca.crt", cluster.ca_file.read_text())
    return root


@pytest.fixture
def made(root: Path, client: Elasticsearch, cluster: Settings) -> Iterator[tuple[Path, str]]:
    """The second step on the test's own node, and what it said."""
    yield root, set_up("cluster", root, str(cluster.url))
    forget(client)


def forget(client: Elasticsearch) -> None:
    client.security.delete_user(username="analyst")
    client.security.invalidate_api_key(name="simquery-*", owner=True)
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
    names = [each["names"] for each in rights["indices"]]
    assert names == [each["names"] for each in roles()["simquery-indexer"]["indices"]]
    assert all(name.startswith("simquery-") for each in names for name in each)
    with connect(Settings(url=cluster.url, ca_file=cluster.ca_file, api_key=settings["api_key"])) as indexer:
        assert indexer.security.authenticate()["authentication_type"] == "api_key"

    kibana = dict(line.split(": ", 1) for line in before["kibana/kibana.yml"].splitlines())
    token = json.loads(kibana["elasticsearch.serviceAccountToken"])
    with as_user(cluster, bearer_auth=token) as as_kibana:
        assert as_kibana.security.authenticate()["username"] == "elastic/kibana"
    with as_user(cluster, basic_auth=("analyst", before["own/analyst-password"])) as analyst:
        with pytest.raises(NotFoundError):
            analyst.get(index="simquery-results", id="nothing")
        with pytest.raises(AuthorizationException):
            analyst.indices.delete(index="simquery-results")


def test_a_cluster_that_lost_its_data_gets_new_keys(
    made: tuple[Path, str], client: Elasticsearch, cluster: Settings
) -> None:
    root, _ = made
    before = contents(root)
    # What a new data volume under old secrets comes to: nobody whom the files name is known any more.
    client.security.invalidate_api_key(name="simquery-*", owner=True)
    client.security.delete_user(username="analyst")
    for name in client.security.get_service_credentials(namespace="elastic", service="kibana")["tokens"]:
        client.security.delete_service_token(namespace="elastic", service="kibana", name=name)
    set_up("cluster", root, str(cluster.url))
    after = contents(root)
    for file in ("indexer/simquery.toml", "analyst/simquery.toml"):
        assert after[file] != before[file]
        with connect(
            Settings(url=cluster.url, ca_file=cluster.ca_file, api_key=tomllib.loads(after[file])["api_key"])
        ) as holder:
            assert holder.security.authenticate()["authentication_type"] == "api_key"
    kibana = dict(line.split(": ", 1) for line in after["kibana/kibana.yml"].splitlines())
    with as_user(cluster, bearer_auth=json.loads(kibana["elasticsearch.serviceAccountToken"])) as as_kibana:
        assert as_kibana.security.authenticate()["username"] == "elastic/kibana"
    # Without them Kibana could not read what it stored.
    assert "xpack.encryptedSavedObjects.encryptionKey" in kibana
    assert kibana["xpack.security.encryptionKey"] in before["kibana/kibana.yml"]
    with as_user(cluster, basic_auth=("analyst", after["own/analyst-password"])) as analyst:
        assert analyst.security.authenticate()["username"] == "analyst"


@pytest.mark.parametrize("holder", ["indexer", "analyst"])
def test_changed_roles_reach_keys_that_were_made_before(
    made: tuple[Path, str], client: Elasticsearch, cluster: Settings, holder: str
) -> None:
    root, _ = made
    name = f"simquery-{holder}"
    (key,) = client.security.get_api_key(name=name, active_only=True)["api_keys"]
    older: dict[str, Any] = {name: {"cluster": [], "indices": [{"names": ["simquery-old"], "privileges": ["all"]}]}}
    client.security.update_api_key(id=key["id"], role_descriptors=older)
    before = contents(root)
    set_up("cluster", root, str(cluster.url))
    assert contents(root) == before
    (now,) = client.security.get_api_key(name=name, active_only=True)["api_keys"]
    rights = [each["names"] for each in now["role_descriptors"][name]["indices"]]
    assert rights == [each["names"] for each in roles()[name]["indices"]]


def test_the_analysts_key_cannot_do_what_the_indexers_can(made: tuple[Path, str], cluster: Settings) -> None:
    settings = tomllib.loads((made[0] / "analyst" / "simquery.toml").read_text())
    with connect(Settings(url=cluster.url, ca_file=cluster.ca_file, api_key=settings["api_key"])) as analyst:
        assert analyst.security.authenticate()["api_key"]["name"] == "simquery-analyst"
        with pytest.raises(AuthorizationException):
            analyst.index(index="simquery-images-any-mini", document={})
        with pytest.raises(AuthorizationException):
            analyst.indices.create(index="simquery-images-any-mini")


def test_set_up_waits_for_a_server_that_has_not_found_its_users_yet(
    root: Path, client: Elasticsearch, cluster: Settings
) -> None:
    password = (root / "own" / "elastic-password").read_text()
    client.security.put_user(username="mender", password=password, roles=["superuser"])
    with as_user(cluster, basic_auth=("mender", password)) as mender:
        try:
            mender.security.change_password(username="elastic", password="another one")
            with subprocess.Popen(
                [sys.executable, str(SCRIPT), "cluster"],
                env=environment(root, str(cluster.url)),
                stdout=subprocess.PIPE,
                text=True,
            ) as waiting:
                assert waiting.stdout is not None
                said = waiting.stdout.readline()
                mender.security.change_password(username="elastic", password=password)
                said += waiting.stdout.read()
        finally:
            mender.security.change_password(username="elastic", password=password)
            client.security.delete_user(username="mender")
    forget(client)
    assert waiting.returncode == 0
    assert "refuses the password" in said
    assert password not in said


def test_data_made_with_another_password_is_said_after_a_while(root: Path, cluster: Settings) -> None:
    replace(root / "own" / "elastic-password", "not this one")
    impatient = environment(root, str(cluster.url), patience="0.1")
    command = [sys.executable, str(SCRIPT), "cluster"]
    done = subprocess.run(command, env=impatient, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bring back the volumes that belong together" in done.stderr
    assert "not this one" not in done.stdout + done.stderr
