"""``simquery kibana install`` with the local node: who it logs in as, where Kibana asks the real server."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result
from elasticsearch import Elasticsearch

from simquery.cli.main import cli
from simquery.errors import SettingsError
from simquery.kibana import as_ndjson, saved_objects
from simquery.settings import Settings


class Standin(http.server.BaseHTTPRequestHandler):
    """Kibana's answer to an import; keeps the credentials that it was sent."""

    credentials: ClassVar[list[str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.credentials.append(self.headers.get("authorization", ""))
        imported = json.dumps({"success": True, "successCount": len(saved_objects())})
        content = (as_ndjson(saved_objects()) if self.path.endswith("_export") else imported).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Standin.credentials = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Standin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def install(address: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(cli, ["kibana", "install", "--url", address])


def test_it_logs_in_as_the_administrator_of_the_local_node(
    cluster: Settings, client: Elasticsearch, address: str
) -> None:
    done = install(address, SIMQUERY_HOME=str(cluster.home))
    assert done.exit_code == 0, done.stderr
    (sent,) = set(Standin.credentials)
    user, password = base64.b64decode(sent.removeprefix("Basic ")).decode().split(":", 1)
    who = client.options(basic_auth=(user, password)).security.authenticate()
    assert "superuser" in who["roles"]


def test_credentials_that_are_given_come_first(cluster: Settings, address: str) -> None:
    install(address, SIMQUERY_HOME=str(cluster.home), SIMQUERY_API_KEY="abc")
    assert set(Standin.credentials) == {"ApiKey abc"}


def test_the_password_of_the_node_is_sent_to_no_other_machine_in_clear(cluster: Settings) -> None:
    refused = install("http://kibana.invalid:5601", SIMQUERY_HOME=str(cluster.home))
    assert isinstance(refused.exception, SettingsError)
    assert "is neither https nor on this machine" in str(refused.exception)
