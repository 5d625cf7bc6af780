"""The Compose project in real containers, as a user would run it."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.engine import Engine, NoEngineError, find_engine, run, until

ROOT = Path(__file__).parents[2]
CLUSTER = "docker-compose.cluster.yml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.compose)
            item.add_marker(pytest.mark.timeout(1800))


WANTED = os.environ.get("SIMQUERY_TEST_COMPOSE") or ("1" if os.environ.get("CI") else "")
"""``1``: make an engine where there is none; ``0``: skip; empty: use what is there. Read before fixtures hide it."""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    if WANTED == "0":
        pytest.skip("SIMQUERY_TEST_COMPOSE is 0")
    try:
        with find_engine(provide=WANTED == "1") as engine:
            yield engine
    except NoEngineError as error:
        pytest.skip(str(error))


class Project:
    """A user's copy of the project, its evidence, and what the client says about it.

    Parameters
    ----------
    engine
        Where it runs.
    root
        Folder for the copy and the evidence; user number 1000 can enter it.
    """

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.folder = root / "simquery"
        self.evidence = root / "evidence"
        self.evidence.mkdir()
        self.name = f"simquery-test-{uuid.uuid4().hex[:8]}"
        self._settings = {
            "COMPOSE_PROJECT_NAME": self.name,
            "SIMQUERY_TAG": self.name,
            "EVIDENCE": str(self.evidence),
            "CASE": "fraud-7",
            "MODEL": "mini",
            "KIBANA_PORT": "45601",
            "ELASTICSEARCH_HEAP": "512m",
            "ELASTICSEARCH_MEMORY": "1500m",
            "INDEXER_MEMORY": "3g",
            "ANALYST_MEMORY": "3g",
        }
        listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", environment={}, cwd=ROOT)
        for name in filter(None, listed.split("\0")):
            if os.path.lexists(ROOT / name):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name, follow_symlinks=False)
        self.set()

    def set(self, *more_files: str, **settings: str) -> None:
        """Rewrite ``.env``, with more Compose files or other settings."""
        self._settings |= settings
        files = ["docker-compose.yml", *more_files]
        if not self.engine.has_registry:
            files.append("tests/compose/overlay.yml")
            if CLUSTER in files:
                files.append("tests/compose/overlay-cluster.yml")
        lines = [f"{name}={value}" for name, value in (self._settings | {"COMPOSE_FILE": ":".join(files)}).items()]
        (self.folder / ".env").write_text("\n".join([*lines, ""]))

    def compose(self, *arguments: str, **options: Any) -> str:
        """Run ``docker compose`` in the folder, and return what it prints."""
        return self.engine.docker("compose", *arguments, cwd=self.folder, **options)

    def tries(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose`` where it may fail."""
        environment = {**os.environ, **self.engine.environment, **variables}
        command = ["docker", "compose", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def pipe(self, *arguments: str, content: bytes = b"") -> bytes:
        """Run ``docker compose exec`` with a file as its input, and return its output as it is."""
        command = ["docker", "compose", "exec", "-T", *arguments]
        environment = {**os.environ, **self.engine.environment}
        return subprocess.run(
            command, cwd=self.folder, env=environment, input=content, stdout=subprocess.PIPE, check=True
        ).stdout

    def up(self, *options: str) -> None:
        """Start it, and wait until the indexer has looked at everything and watches."""
        self.compose("up", "--detach", *options)
        until(lambda: "Watching" in self.compose("logs", "indexer"), "the indexer watches")

    def states(self, fact: str) -> dict[str, str]:
        """Return a fact, such as ``Health`` or ``State``, about each service that keeps running."""
        lines = self.compose("ps", "--format", "json").splitlines()
        return {str(each["Service"]): str(each[fact]) for each in map(json.loads, lines) if each["State"] != "exited"}

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine knows about the container of a service."""
        (number,) = self.compose("ps", "--all", "--quiet", service).split()
        (facts,) = json.loads(self.engine.docker("inspect", number))
        return dict(facts)

    def query(self, *arguments: str, service: str = "analyst") -> dict[str, Any]:
        """Query as documented."""
        answer = self.compose("exec", "-T", service, "simquery", "query", *arguments, "--json")
        return dict(json.loads(answer))

    def pictures(self) -> int:
        """Return how many pictures can be searched with the network in the settings."""
        status = self.status()
        return sum(case["pictures"] for case in status["cases"] if case["model"] == self._settings["MODEL"])

    def status(self) -> dict[str, Any]:
        """Return what ``simquery status`` prints; without cases while the cluster still refuses all users."""
        answer = self.tries("exec", "-T", "analyst", "simquery", "status", "--json")
        return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {"health": "unknown", "cases": []}

    def volumes(self) -> list[str]:
        """Names of its volumes."""
        return self.engine.docker("volume", "ls", "--quiet", "--filter", f"name={self.name}").split()

    def secrets(self) -> dict[str, str]:
        """Content of every file in the volumes with keys and certificates, by the file's path."""
        mounts = []
        for volume in self.volumes():
            if volume.endswith(("own", "trust", "-secrets")):
                mounts += ["--volume", f"{volume}:/look/{volume.removeprefix(self.name + '_')}:ro"]
        show = (
            "import json, pathlib; files = [path for path in pathlib.Path('/look').rglob('*') if path.is_file()];"
            " print(json.dumps({str(path): path.read_text() for path in files}))"
        )
        image = f"simquery:{self._settings['SIMQUERY_TAG']}"
        found = self.engine.docker(
            "run", "--rm", "--network", "none", *mounts, "--entrypoint", "python", image, "-c", show
        )
        return dict(json.loads(found))

    def remove(self) -> None:
        """Remove containers, volumes, networks, and the image."""
        self.set(CLUSTER)
        self.tries("down", "--volumes", "--remove-orphans", "--timeout", "5", "--rmi", "local")
        self.tries("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
        self.engine.docker("image", "rm", "--force", f"simquery:{self._settings['SIMQUERY_TAG']}")


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("compose")
    for folder in (root, *root.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)
    project = Project(engine, root)
    try:
        yield project
    finally:
        project.remove()
