"""Set-up of the Compose project: what has to be there before its services can trust each other.

Two steps, each of which does only what has not been done yet:

* ``certificates``, before Elasticsearch starts: a certificate authority, a certificate for each server, the password of
  the user ``elastic``.
* ``cluster``, once Elasticsearch answers: the roles, the index templates, Kibana's service token, an API key with the
  least rights for the indexer, and a user for Kibana.

Secrets go into files that only their owner can read, each in a volume that is mounted only where it is needed. None is
an argument of a process, an environment variable or a line of a log.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from elasticsearch import Elasticsearch

from simquery.kibana import roles
from simquery.mappings import install_templates, open_index

ROOT = Path(os.environ.get("SIMQUERY_SET_UP", "/run/simquery"))
URL = os.environ.get("SIMQUERY_SET_UP_URL", "https://elasticsearch:9200")
NODES = os.environ.get("SIMQUERY_SET_UP_NODES", "elasticsearch").split(",")
DAYS = "3650"
ANALYST = "analyst"


def certificates() -> None:
    """Make the authority, the servers' certificates, and the password."""
    own = ROOT / "own"
    if not (own / "ca.key").exists():
        _make_key(own / "ca.key")
        subject = ["-subj", "/O=simquery/CN=simquery certificate authority"]
        extensions = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]
        signed = _openssl("req", "-x509", "-new", "-key", own / "ca.key", "-days", DAYS, *subject, *extensions)
        _write(own / "ca.crt", signed, 0o444)
    _write(ROOT / "trust" / "ca.crt", (own / "ca.crt").read_text(), 0o444)
    if not (own / "elastic-password").exists():
        _write(own / "elastic-password", secrets.token_urlsafe(24))
    for node in NODES:
        _write(ROOT / node / "ca.crt", (own / "ca.crt").read_text(), 0o444)
        _write(ROOT / node / "elastic-password", (own / "elastic-password").read_text())
    for server in (*NODES, "kibana"):
        if not (ROOT / server / "server.crt").exists():
            _certify(ROOT / server, server, own)


def cluster() -> None:
    """Make what the other services log in with."""
    own = ROOT / "own"
    password = (own / "elastic-password").read_text().strip()
    trust = {"ca_certs": str(ROOT / "trust" / "ca.crt")} if URL.startswith("https") else {}
    with Elasticsearch(URL, basic_auth=("elastic", password), request_timeout=60, **trust) as client:
        # Nodes answer before they have agreed on who leads them.
        client.cluster.health(wait_for_status="yellow", timeout="50s", master_timeout="50s")
        for name, rights in roles().items():
            client.security.put_role(name=name, **rights)
        install_templates(client)
        # Kibana's controls report an error for an index that is not there.
        for kind in ("results", "marks", "measures", "timings"):
            open_index(client, kind)
        if not (ROOT / "kibana" / "kibana.yml").exists():
            _write(ROOT / "kibana" / "kibana.yml", _kibana_yml(client))
        if not (ROOT / "indexer" / "simquery.toml").exists():
            rights = roles()["simquery-indexer"]
            key = client.security.create_api_key(name="simquery-indexer", role_descriptors={"simquery-indexer": rights})
            _write(ROOT / "indexer" / "simquery.toml", _toml(api_key=key["encoded"]))
        if not (own / f"{ANALYST}-password").exists():
            chosen = secrets.token_urlsafe(12)
            client.security.put_user(username=ANALYST, password=chosen, roles=["simquery-analyst"])
            _write(own / f"{ANALYST}-password", chosen)
        _write(own / "simquery.toml", _toml(username="elastic", password=password))


def _certify(folder: Path, server: str, own: Path) -> None:
    _make_key(folder / "server.key")
    with tempfile.TemporaryDirectory() as temporary:
        request, extensions = Path(temporary, "request"), Path(temporary, "extensions")
        # All nodes of a cluster answer to one name, and call each other; nobody else's certificate lets a node join.
        is_node = server != "kibana"
        names = dict.fromkeys((server, "elasticsearch")) if is_node else [server]
        usage = "serverAuth,clientAuth" if is_node else "serverAuth"
        alternatives = ",".join(f"DNS:{name}" for name in (*names, "localhost"))
        extensions.write_text(
            f"subjectAltName={alternatives},IP:127.0.0.1\n"
            f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n"
        )
        _openssl("req", "-new", "-key", folder / "server.key", "-subj", f"/O=simquery/CN={server}", "-out", request)
        authority = ["-CA", own / "ca.crt", "-CAkey", own / "ca.key", "-set_serial", str(secrets.randbits(120))]
        signed = _openssl("x509", "-req", "-in", request, *authority, "-days", DAYS, "-extfile", extensions)
        _write(folder / "server.crt", signed, 0o444)


def _make_key(path: Path) -> None:
    _write(path, _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))


def _openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _kibana_yml(client: Elasticsearch) -> str:
    token = client.security.create_service_token(
        namespace="elastic", service="kibana", name=f"compose-{secrets.token_hex(4)}"
    )
    settings = {
        "server.host": "0.0.0.0",  # noqa: S104  (of the container; Compose publishes it on loopback)
        "server.ssl.enabled": True,
        "server.ssl.certificate": "/run/simquery/kibana/server.crt",
        "server.ssl.key": "/run/simquery/kibana/server.key",
        "elasticsearch.hosts": [URL],
        "elasticsearch.serviceAccountToken": token["token"]["value"],
        "elasticsearch.ssl.certificateAuthorities": ["/run/simquery/trust/ca.crt"],
        "telemetry.optIn": False,
        "map.includeElasticMapsService": False,
        "newsfeed.enabled": False,
        **{
            f"xpack.{plugin}.encryptionKey": secrets.token_hex(32)
            for plugin in ("security", "encryptedSavedObjects", "reporting")
        },
    }
    # Every JSON value is a YAML value.
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())


def _toml(**credentials: str) -> str:
    settings = {
        "url": URL,
        **({"ca_file": str(ROOT / "trust" / "ca.crt")} if URL.startswith("https") else {}),
        "kibana_url": os.environ.get("SIMQUERY_SET_UP_KIBANA", "https://localhost:5601"),
        **credentials,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _write(path: Path, content: str, mode: int = 0o400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(content)
    temporary.replace(path)  # whole or not at all: what exists is not made again


if __name__ == "__main__":
    os.umask(0o022)
    {"certificates": certificates, "cluster": cluster}[sys.argv[1]]()
