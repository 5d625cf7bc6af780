"""Set-up of the Compose project: makes everything that its services need to trust each other.

Three steps:

* ``certificates``, before Elasticsearch starts: a certificate authority, a certificate for each server, the password of
  the user ``elastic``.
* ``evidence``: a check that the evidence can be read.
* ``cluster``, once Elasticsearch answers: the roles, the index templates, Kibana's service token, an API key with least
  rights for the indexer and one for the analysts, and a user for Kibana.

Each step makes only what is missing or no longer accepted: the next run completes an interrupted step, and a cluster
that has lost its data gets new keys.

Secrets are in files that only their owner can read, each in a volume that is mounted only where it is needed. No secret
is in the arguments of a process or in a log.
"""

import base64
import ipaddress
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from elastic_transport import TlsError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch, NotFoundError, TransportError

from simquery.cluster import explain
from simquery.errors import SimqueryError
from simquery.kibana import roles
from simquery.mappings import install_templates, open_index

ROOT = Path(os.environ.get("SIMQUERY_SET_UP", "/run/simquery"))
URL = os.environ.get("SIMQUERY_SET_UP_URL", "https://elasticsearch:9200")
NODES = os.environ.get("SIMQUERY_SET_UP_NODES", "elasticsearch").split(",")
KIBANA_NAME = os.environ.get("SIMQUERY_SET_UP_KIBANA", "localhost")
EVIDENCE = os.environ.get("SIMQUERY_SET_UP_EVIDENCE", "/evidence")
PATIENCE_SECONDS = float(os.environ.get("SIMQUERY_SET_UP_PATIENCE", "300"))
DAYS = "3650"
ANALYST = "analyst"


def certificates() -> None:
    """Make the authority, the servers' certificates, and the password."""
    own = ROOT / "own"
    _provide_authority(own)
    authority = (own / "ca.crt").read_text()
    _write(ROOT / "trust" / "ca.crt", authority, 0o444)
    if not (own / "elastic-password").exists():
        _write(own / "elastic-password", secrets.token_urlsafe(24))
    for node in NODES:
        _write(ROOT / node / "ca.crt", authority, 0o444)
        _write(ROOT / node / "elastic-password", (own / "elastic-password").read_text())
        # All nodes of a cluster have one name, and connect to each other; no other certificate lets a node join.
        _provide_certificate(ROOT / node, {node, "elasticsearch", "localhost"}, "serverAuth,clientAuth", own)
    _provide_certificate(ROOT / "kibana", {"kibana", "localhost", KIBANA_NAME}, "serverAuth", own)


def evidence() -> None:
    """Check that the evidence can be read; otherwise the indexer would be restarted over and over in vain."""
    try:
        with os.scandir(EVIDENCE):
            return
    except OSError as error:
        sys.exit(
            f"User {os.geteuid()} cannot read the folder that EVIDENCE names in .env ({error.strerror}). Let that user"
            " read the folder and everything in it, for example with 'setfacl -R -m u:1000:rX FOLDER' or the mount"
            " option uid=1000; then run 'docker compose up --detach' again."
        )


def cluster() -> None:
    """Make the credentials of the other services."""
    own = ROOT / "own"
    password = (own / "elastic-password").read_text().strip()
    with _client(basic_auth=("elastic", password)) as client:
        _wait_until_let_in(client)
        for name, rights in roles().items():
            client.security.put_role(name=name, **rights)
        install_templates(client)
        # Kibana's controls report an error for an index that does not exist.
        for kind in ("results", "marks", "measures", "timings"):
            open_index(client, kind)
        _provide_key(client, "indexer")
        _provide_key(client, "analyst")
        _provide_analyst(client, own / f"{ANALYST}-password")
        _write(ROOT / "kibana" / "kibana.yml", _kibana_yml(client, ROOT / "kibana" / "kibana.yml"))
        _write(own / "simquery.toml", _toml(username="elastic", password=password))


def _provide_authority(own: Path) -> None:
    key, certificate = own / "ca.key", own / "ca.crt"
    if not key.exists():
        _make_key(key)
    if _belongs(certificate, key):
        return
    subject = ["-subj", "/O=simquery/CN=simquery certificate authority"]
    extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    signed = _openssl("req", "-x509", "-new", "-key", key, "-days", DAYS, *subject, *extensions)
    _write(certificate, signed, 0o444)


def _provide_certificate(folder: Path, names: Iterable[str], usage: str, own: Path) -> None:
    """Make a server's key and certificate, unless the authority has already signed one for all its names."""
    key, certificate = folder / "server.key", folder / "server.crt"
    if _belongs(certificate, key) and all(_answers_to(certificate, name, own / "ca.crt") for name in names):
        return
    _make_key(key)
    with tempfile.TemporaryDirectory() as temporary:
        request, extensions = Path(temporary, "request"), Path(temporary, "extensions")
        alternatives = sorted(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in {*names, "127.0.0.1"})
        extensions.write_text(
            f"subjectAltName={','.join(alternatives)}\n"
            f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n"
        )
        _openssl("req", "-new", "-key", key, "-subj", f"/O=simquery/CN={folder.name}", "-out", request)
        authority = ["-CA", own / "ca.crt", "-CAkey", own / "ca.key", "-set_serial", str(secrets.randbits(120))]
        signed = _openssl("x509", "-req", "-in", request, *authority, "-days", DAYS, "-extfile", extensions)
        _write(certificate, signed, 0o444)


def _belongs(certificate: Path, key: Path) -> bool:
    """Return whether a certificate exists and belongs to this key."""
    if not (certificate.exists() and key.exists()):
        return False
    of_certificate = _openssl("x509", "-in", certificate, "-noout", "-pubkey")
    return of_certificate == _openssl("pkey", "-in", key, "-pubout")


def _answers_to(certificate: Path, name: str, authority: Path) -> bool:
    """Return whether clients that trust the authority accept the certificate under this name."""
    option = "-verify_ip" if _is_address(name) else "-verify_hostname"
    return _run_openssl("verify", "-CAfile", authority, option, name, certificate).returncode == 0


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _make_key(path: Path) -> None:
    _write(path, _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))


def _openssl(*arguments: object) -> str:
    done = _run_openssl(*arguments)
    if done.returncode:
        sys.exit(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _run_openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


def _client(**credentials: Any) -> Elasticsearch:
    trust = {"ca_certs": str(ROOT / "trust" / "ca.crt")} if URL.startswith("https") else {}
    return Elasticsearch(URL, request_timeout=60, **trust, **credentials)


def _wait_until_let_in(client: Elasticsearch) -> None:
    """Wait until the cluster has a leader, all its indices, and the users in them.

    A node that has just started answers earlier, but refuses all users until it has found them.
    """
    started, said = time.monotonic(), False
    while True:
        try:
            client.cluster.health(wait_for_status="yellow", timeout="30s", master_timeout="30s")
        except TlsError as error:
            sys.exit(str(explain(error, URL)))
        except AuthenticationException:
            problem = (
                "it refuses the password in the volume 'own'. If its data was made with another password, bring back"
                " the volumes that belong together, or remove all volumes with 'docker compose down --volumes', which"
                " deletes the cases."
            )
        except (ApiError, TransportError) as error:
            problem = str(explain(error, URL))
        else:
            return
        if time.monotonic() - started > PATIENCE_SECONDS:
            sys.exit(f"Elasticsearch is not ready after {PATIENCE_SECONDS:.0f} s: {problem}")
        if not said:
            print(f"Waiting up to {PATIENCE_SECONDS:.0f} s for Elasticsearch: {problem}", flush=True)
            said = True
        time.sleep(1)


def _accepts(**credentials: Any) -> bool:
    with _client(**credentials) as client:
        try:
            client.security.authenticate()
        except AuthenticationException:
            return False
    return True


def _provide_key(client: Elasticsearch, holder: str) -> None:
    """Give a service an API key with the rights of its role; a key that the cluster still accepts is kept."""
    name, file = f"simquery-{holder}", ROOT / holder / "simquery.toml"
    rights = {name: roles()[name]}
    key = tomllib.loads(file.read_text("utf-8"))["api_key"] if file.exists() else None
    if key is not None and _accepts(api_key=key):
        number = base64.b64decode(key).decode("ascii").partition(":")[0]
        client.security.update_api_key(id=number, role_descriptors=rights)
    else:
        client.security.invalidate_api_key(name=name, owner=True)  # its secret is lost
        key = client.security.create_api_key(name=name, role_descriptors=rights)["encoded"]
    _write(file, _toml(api_key=key))


def _provide_analyst(client: Elasticsearch, file: Path) -> None:
    """Make the user whose password is in the file; an existing user is kept."""
    with suppress(NotFoundError):
        client.security.get_user(username=ANALYST)
        if file.exists():
            return
    if not file.exists():
        _write(file, secrets.token_urlsafe(12))
    client.security.put_user(username=ANALYST, password=file.read_text(), roles=["simquery-analyst"])


def _kibana_yml(client: Elasticsearch, file: Path) -> str:
    """Return Kibana's settings; a token that the cluster still accepts is kept, and so are the encryption keys."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    known = {name: json.loads(value) for name, value in (line.split(": ", 1) for line in lines)}
    token = known.get("elasticsearch.serviceAccountToken")
    if token is None or not _accepts(bearer_auth=token):
        made = client.security.create_service_token(
            namespace="elastic", service="kibana", name=f"compose-{secrets.token_hex(4)}"
        )
        token = made["token"]["value"]
    encryption_keys = [f"xpack.{plugin}.encryptionKey" for plugin in ("security", "encryptedSavedObjects", "reporting")]
    settings = {
        "server.host": "0.0.0.0",  # noqa: S104  (of the container; Compose publishes it on loopback)
        "server.ssl.enabled": True,
        "server.ssl.certificate": "/run/simquery/kibana/server.crt",
        "server.ssl.key": "/run/simquery/kibana/server.key",
        "elasticsearch.hosts": [URL],
        "elasticsearch.serviceAccountToken": token,
        "elasticsearch.ssl.certificateAuthorities": ["/run/simquery/trust/ca.crt"],
        "telemetry.optIn": False,
        "map.includeElasticMapsService": False,
        "newsfeed.enabled": False,
        **{name: known.get(name) or secrets.token_hex(32) for name in encryption_keys},
    }
    # Every JSON value is a YAML value.
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())


def _toml(**credentials: str) -> str:
    settings = {
        "url": URL,
        **({"ca_file": str(ROOT / "trust" / "ca.crt")} if URL.startswith("https") else {}),
        **credentials,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _write(path: Path, content: str, mode: int = 0o400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(content)
    temporary.replace(path)  # completely or not at all


if __name__ == "__main__":
    os.umask(0o022)
    try:
        {"certificates": certificates, "evidence": evidence, "cluster": cluster}[sys.argv[1]]()
    except SimqueryError as error:  # such as an index of another schema version
        sys.exit(str(error))
