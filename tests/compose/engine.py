"""A Docker engine for the tests: the machine's own, or one that they provide, start and stop themselves."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simquery.node.account import server_account
from simquery.node.java import find_jdk
from simquery.node.sources import Container, find_server
from simquery.settings import Settings

__all__ = ["Engine", "NoEngineError", "find_engine", "until"]

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("SIMQUERY_COMPOSE_CACHE") or Path.home() / ".cache" / "simquery-compose")
BASE = "python:simquery-test"
ELASTICSEARCH = "docker.elastic.co/elasticsearch/elasticsearch:9.4.3"
MINUTES_TO_PROVIDE = 20
CACHE_SIZE = "10gb"


class NoEngineError(Exception):
    """Why there is no engine on this machine."""


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    Attributes
    ----------
    environment
        What the client must be told to reach it.
    has_registry
        Whether Elastic's and Docker's images can be pulled; if not, stand-ins were made for them.
    """

    has_registry: bool
    environment: Mapping[str, str] = field(default_factory=dict)

    def docker(self, *arguments: str, **options: object) -> str:
        """Run the client and return what it prints."""
        return run("docker", *arguments, environment=self.environment, **options)


def run(*command: str, environment: Mapping[str, str], **options: object) -> str:
    """Run a command, and fail with what it said."""
    done = subprocess.run(  # type: ignore[call-overload]
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def until(true: Callable[[], object], what: str, seconds: float = 300.0) -> None:
    """Wait until other processes have made a condition true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


@contextmanager
def find_engine(*, provide: bool) -> Iterator[Engine]:
    """Yield the machine's engine, or else one of the tests' own.

    Parameters
    ----------
    provide
        Whether to make what that needs, which takes minutes; otherwise it has to be in the cache.

    Raises
    ------
    NoEngineError
        When neither can be had.
    """
    if _answers({}):
        if not (_succeeds("docker", "image", "inspect", ELASTICSEARCH) or _succeeds("docker", "pull", ELASTICSEARCH)):
            raise NoEngineError(f"the engine of this machine cannot pull {ELASTICSEARCH}")
        yield Engine(has_registry=True)
        return
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine with Compose answers, and only root can start one")
    if not (CACHE / "base.tar").is_file() and not provide:
        raise NoEngineError("no Docker engine with Compose answers; SIMQUERY_TEST_COMPOSE=1 makes one, in ten minutes")
    _provide()
    with _started(CACHE / "engine") as engine:
        if not engine.docker("images", "--quiet", BASE):
            engine.docker(
                "import",
                "-c",
                "ENV LANG=C.UTF-8 PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
                str(CACHE / "base.tar"),
                BASE,
            )
        _make_elasticsearch(engine)
        yield engine
        # The layers of this checkout are enough for the next run to build quickly; older ones would fill the disk.
        engine.docker("image", "prune", "--force")
        engine.docker("builder", "prune", "--force", "--keep-storage", CACHE_SIZE)


def _answers(environment: Mapping[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    commands = (("docker", "info"), ("docker", "compose", "version"))
    return all(_succeeds(*command, environment=environment) for command in commands)


def _succeeds(*command: str, environment: Mapping[str, str] | None = None) -> bool:
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _provide() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [str(HERE / "engine.sh"), str(CACHE)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60 * MINUTES_TO_PROVIDE,
        )
    except subprocess.TimeoutExpired:
        raise NoEngineError(f"an engine could not be made within {MINUTES_TO_PROVIDE} minutes") from None
    if done.returncode:
        raise NoEngineError(f"an engine could not be made: {(done.stderr.strip().splitlines() or ['?'])[-1]}")


@contextmanager
def _started(folder: Path) -> Iterator[Engine]:
    """Run the engine, unless it runs already; it stays out of the machine's packet filter."""
    folder.mkdir(exist_ok=True)
    address = f"unix://{folder}/docker.sock"
    engine = Engine(False, {"DOCKER_HOST": address, "DOCKER_CONFIG": str(CACHE / "docker")})
    if _answers(engine.environment):
        yield engine
        return
    options = ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]
    places = ["--data-root", f"{folder}/data", "--exec-root", "/run/simquery-compose", "--pidfile", f"{folder}/pid"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", "-H", address, *options, *places], stdout=log, stderr=log)
    try:
        until(lambda: _answers(engine.environment) or daemon.poll() is not None, "the engine answers", 60)
        if daemon.poll() is not None:
            raise NoEngineError(f"the engine does not start, see '{folder}/log'")
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(60)


def _make_elasticsearch(engine: Engine) -> None:
    """Build the stand-in for Elastic's image from the server that `simquery up` fetches."""
    settings = Settings()
    account = server_account(Path("/var/lib/simquery/data"))
    server = find_server(settings.elasticsearch_home, settings.cache, account, print, require_jdk=lambda: None)
    if isinstance(server, Container):
        raise NoEngineError("the server that simquery finds is in an image already")
    jdk = find_jdk(settings.java_home, os.environ, server.bundled_jdk)
    with tempfile.TemporaryDirectory(dir=CACHE) as context:
        for name, source in {"server": server.home, "jdk": jdk.home}.items():
            shutil.copytree(source.resolve(), Path(context, name), symlinks=True)
        for file in (HERE / "elasticsearch").iterdir():
            shutil.copy(file, context)
        _succeeds("cc", "-shared", "-fPIC", "-o", f"{context}/limits.so", f"{context}/limits.c", "-ldl")
        engine.docker("build", "--network", "none", "--tag", ELASTICSEARCH, context)
