"""Grow a case from one node to the three of ``docker-compose.cluster.yml``, kill one, and look for losses.

The benchmark runs three real Elasticsearch nodes on loopback, with the settings of the Compose files and the
certificates, keys and rights of ``docker/set_up.py``; only addresses and folders differ. It runs the same query after
every step: with one node, with three, with the two that are left after the first is killed, and after the first has
come back with and without its data. It takes five minutes on two cores, and three times ``--heap`` of memory::

    python benchmarks/lost_node.py

The exit code is 1 if a picture, a ledger entry or the order of a ranking is lost.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from elasticsearch import ApiError, Elasticsearch, TransportError
from PIL import Image

from simquery.node.account import Account, server_account
from simquery.node.config import LOGGING, jvm_options, own_jvm_options
from simquery.node.distribution import Distribution
from simquery.node.java import Jdk, find_jdk
from simquery.node.sources import Container, find_server
from simquery.settings import load_settings

ROOT = Path(__file__).parents[1]
SECONDS = 180.0
NODES = ("elasticsearch", "elasticsearch-2", "elasticsearch-3")
PICTURES = 300
CASE = "lost-node"


def composed(*files: str) -> dict[str, dict[str, str]]:
    """Return the environment of each node according to Compose files; later files override earlier ones."""
    environments: dict[str, dict[str, str]] = {}
    for file in files:
        services = yaml.safe_load((ROOT / file).read_text("utf-8"))["services"]
        for node in NODES:
            if node in services:
                environments.setdefault(node, {}).update(services[node].get("environment", {}))
    return environments


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(true: Callable[[], bool], what: str) -> float:
    """Wait, and return the seconds it took."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > SECONDS:
            raise TimeoutError(f"not within {SECONDS:.0f} s: {what}")
        time.sleep(0.5)
    return time.monotonic() - started


@dataclass(frozen=True)
class Program:
    """Programs and folders that the servers start with."""

    server: Distribution
    jdk: Jdk
    account: Account
    heap: str


class Node:
    """One of the servers."""

    def __init__(self, name: str, root: Path, program: Program) -> None:
        self.name = name
        self.home = root / "homes" / name
        self.secrets = root / "set-up" / name
        self.http, self.transport = free_port(), free_port()
        self.url = f"https://localhost:{self.http}"
        self._program = program
        self._launcher: subprocess.Popen[bytes] | None = None

    @property
    def _pid(self) -> Path:
        return self.home / "tmp" / "pid"

    def start(self, environment: dict[str, str], seeds: list[str]) -> None:
        """Start the server in the background with the environment that Compose would give it."""
        server, jdk, account = self._program.server, self._program.jdk, self._program.account
        for name in ("config/jvm.options.d", "data", "logs", "tmp"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        config = self.home / "config"
        shutil.copytree(self.secrets, config / "simquery", dirs_exist_ok=True)
        missing = {"xpack.ml": "x-pack-ml", "ingest.geoip": "ingest-geoip"}
        settings: dict[str, Any] = {
            name: value
            for name, value in environment.items()
            if not name.isupper()
            and all(not name.startswith(part) or module in server.modules for part, module in missing.items())
        }
        settings |= {"path.data": str(self.home / "data"), "path.logs": str(self.home / "logs")}
        settings |= {"network.host": "127.0.0.1", "http.port": self.http, "transport.port": self.transport}
        if "discovery.seed_hosts" in settings:
            settings["discovery.seed_hosts"] = seeds
        (config / "elasticsearch.yml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in settings.items()))
        (config / "log4j2.properties").write_text(LOGGING)
        (config / "jvm.options").write_text(jvm_options())
        (config / "jvm.options.d" / "own.options").write_text(
            own_jvm_options(self._program.heap, f"-Dlost.node={self.name}")
        )
        self._give_away()
        variables = server.environment(jdk, config, self.home / "tmp", os.environ)
        if not (config / "elasticsearch.keystore").exists():
            add = ("add", "--stdin", "--force", "--silent", "bootstrap.password")
            subprocess.run(
                server.keystore_command(jdk, config, *add),
                input=(self.secrets / "elastic-password").read_bytes() + b"\n",
                check=True,
                env=variables,
                **account.popen_options,
            )
        self._pid.unlink(missing_ok=True)
        with (self.home / "console.log").open("wb") as console:
            self._launcher = subprocess.Popen(
                server.server_command(jdk, self._pid),
                stdout=console,
                stderr=console,
                cwd=server.home,
                env=variables,
                **account.popen_options,
            )

    def _give_away(self) -> None:
        account = self._program.account
        for path in (self.home, *self.home.rglob("*")):
            if path.stat().st_uid != account.uid:
                os.chown(path, account.uid, account.gid)

    def answers(self) -> bool:
        """Return, like Compose's health check, whether the server refuses a request without credentials."""
        try:
            Elasticsearch(self.url, ca_certs=str(self.secrets / "ca.crt"), max_retries=0).info()
        except ApiError as error:
            return error.status_code == 401  # noqa: PLR2004
        except TransportError:
            return False
        return False

    def end(self, how: signal.Signals) -> None:
        """Stop the server and wait until it has ended."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            number = int(self._pid.read_text())
            os.kill(number, how)
            until(lambda: not Path(f"/proc/{number}/cmdline").exists(), f"{self.name} ends")
        if self._launcher is not None:
            with suppress(subprocess.TimeoutExpired):
                self._launcher.wait(10)
            if self._launcher.poll() is None:
                self._launcher.kill()
                self._launcher.wait()

    def forget(self) -> None:
        """Delete the data, as a broken disk would."""
        shutil.rmtree(self.home / "data")


class Trial:
    """The nodes, their content, and the result of each step."""

    def __init__(self, root: Path, heap: str) -> None:
        self.root = root
        settings = load_settings()
        account = server_account(root / "homes" / NODES[0] / "data")
        server = find_server(settings.elasticsearch_home, settings.cache, account, print, require_jdk=lambda: None)
        if isinstance(server, Container):
            raise SystemExit("This starts Elasticsearch as a program: set SIMQUERY_ELASTICSEARCH_HOME.")
        jdk = find_jdk(settings.java_home, os.environ, server.bundled_jdk, lambda file: not account.blocked_by(file))
        self.nodes = [Node(name, root, Program(server, jdk, account, heap)) for name in NODES]
        self.first = self.nodes[0]
        self.seeds = [f"127.0.0.1:{node.transport}" for node in self.nodes]
        self.expected: list[Any] | None = None
        self.lost = False

    def set_up(self, step: str) -> None:
        """Run a step of the set-up as its container does."""
        variables = {
            "SIMQUERY_SET_UP": str(self.root / "set-up"),
            "SIMQUERY_SET_UP_URL": self.first.url,
            "SIMQUERY_SET_UP_NODES": ",".join(NODES),
        }
        command = [sys.executable, str(ROOT / "docker" / "set_up.py"), step]
        subprocess.run(command, check=True, env=os.environ | variables)

    def client(self, node: Node) -> Elasticsearch:
        """Connect the user ``elastic`` to a node."""
        password = (self.root / "set-up" / "own" / "elastic-password").read_text()
        ca = str(self.root / "set-up" / "trust" / "ca.crt")
        return Elasticsearch(node.url, basic_auth=("elastic", password), ca_certs=ca, request_timeout=60)

    def simquery(self, node: Node, *arguments: str) -> Any:
        """Run a command with the indexer's key against a node, and return its JSON."""
        variables = {
            "SIMQUERY_CONFIG": str(self.root / "set-up" / "indexer" / "simquery.toml"),
            "SIMQUERY_URL": node.url,
            "SIMQUERY_CASE": CASE,
            "SIMQUERY_MODEL": "mini",
            "SIMQUERY_KEEP_WARM": "0",
        }
        command = [sys.executable, "-m", "simquery", *arguments, "--json"]
        done = subprocess.run(command, check=True, env=os.environ | variables, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def wait(self, node: Node, status: str, number: int) -> float:
        """Wait until a node reports a cluster with this number of nodes and this health."""
        client = self.client(node)

        def reached() -> bool:
            try:
                health = client.cluster.health(timeout="1s")
            except (ApiError, TransportError):
                return False
            statuses = {"green"} if status == "green" else {"green", "yellow"}
            return health["number_of_nodes"] == number and health["status"] in statuses

        return until(reached, f"{number} nodes, {status}")

    def look(self, node: Node, when: str, seconds: float) -> None:
        """Run the query and count the contents, and compare both with the first time."""
        reference = str(self.root / "evidence" / "7.png")
        ranking = self.simquery(node, "query", reference, "--distance", "modified", "--all")
        client = self.client(node)
        client.indices.refresh(index="simquery-*")
        counts = {name: client.count(index=f"simquery-{name}-*")["count"] for name in ("files", "images")}
        seen = [[(hit["sha256"], hit["distance"]) for hit in ranking["hits"]], counts]
        self.expected = self.expected or seen
        same = seen == self.expected
        self.lost |= not same
        leader = client.cat.master(format="json").body[0]["node"]
        print(
            f"{when:58} {seconds:5.0f} s  {counts['files']} paths, {counts['images']} pictures,"
            f" {'the same ranking' if same else 'ANOTHER RANKING'}; led by {leader}",
            flush=True,
        )


def main() -> None:
    """Go through all steps and print the result of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heap", default="512m", help="of each node")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lost-node-") as folder:
        root = Path(folder)
        root.chmod(0o711)
        trial = Trial(root, arguments.heap)
        try:
            run(trial)
        finally:
            for node in trial.nodes:
                node.end(signal.SIGKILL)
    sys.exit(trial.lost)


def run(trial: Trial) -> None:
    """One node with a case, then three, then two, then three again."""
    first, second, third = trial.nodes
    random = np.random.default_rng(1)
    (trial.root / "evidence").mkdir()
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(trial.root / "evidence" / f"{number}.png")
    trial.set_up("certificates")

    first.start(composed("docker-compose.yml")[first.name], trial.seeds)
    seconds = until(first.answers, "the first node answers")
    trial.set_up("cluster")
    trial.simquery(first, "index", str(trial.root / "evidence"))
    trial.look(first, "one node, as docker-compose.yml has it", seconds)

    first.end(signal.SIGTERM)
    environments = composed("docker-compose.yml", "docker-compose.cluster.yml")
    first.start(environments[first.name], trial.seeds)
    seconds = until(first.answers, "the first node answers")
    for node in (second, third):
        node.start(environments[node.name], trial.seeds)
    seconds += trial.wait(third, "green", 3)
    trial.set_up("cluster")
    trial.look(third, "the same with two more nodes: copies of everything", seconds)

    first.end(signal.SIGKILL)
    trial.look(second, "the first one killed", trial.wait(second, "yellow", 2))

    first.start(environments[first.name], trial.seeds)
    trial.look(first, "it comes back with its data", trial.wait(first, "green", 3))

    first.end(signal.SIGKILL)
    trial.wait(third, "green", 2)
    first.forget()
    first.start(environments[first.name], trial.seeds)
    trial.look(first, "killed again, its disk lost, an empty one in its place", trial.wait(first, "green", 3))


if __name__ == "__main__":
    main()
