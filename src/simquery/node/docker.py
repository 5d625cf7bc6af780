"""The node as a container, through Docker Compose."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.resources import as_file, files
from pathlib import Path

from simquery.errors import DownloadError, NodeError
from simquery.node.account import Account
from simquery.node.config import common_settings
from simquery.node.files import write_atomically
from simquery.node.layout import Launch, Layout

__all__ = [
    "DockerEngine",
    "check_available",
    "compose_variables",
    "container_environment",
    "project_name",
    "pull",
]

SECONDS_FOR_ANSWER = 15
SECONDS_TO_STOP = 90


def project_name(home: Path) -> str:
    """Return the name of the Compose project for the node with this home."""
    return f"simquery-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def container_environment(password: str, heap: str) -> str:
    """Return the container's environment as text: the server's settings and the password."""
    # Users of this machine can reach the container's address, and no other node needs the transport port.
    settings = common_settings(modules=None) | {"transport.host": "127.0.0.1"}
    options = f"-Xms{heap} -Xmx{heap} -XX:-HeapDumpOnOutOfMemoryError"
    lines = [f"ELASTIC_PASSWORD={password}", f"ES_JAVA_OPTS={options}"]
    for name, value in settings.items():
        lines.append(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join([*lines, ""])


def compose_variables(version: str, layout: Layout, account: Account, port: int) -> dict[str, str]:
    """Return a value for each variable in ``compose.yml``. None of them is a secret."""
    return {
        "SIMQUERY_NODE_VERSION": version,
        "SIMQUERY_NODE_USER": f"{account.uid}:0",  # the image's folders belong to group 0
        "SIMQUERY_NODE_PORT": str(port),
        "SIMQUERY_NODE_DATA": str(layout.data),
        "SIMQUERY_NODE_KEY": str(layout.key),
        "SIMQUERY_NODE_CERTIFICATE": str(layout.certificate),
        "SIMQUERY_NODE_ENVIRONMENT": str(layout.container_environment),
    }


def check_available() -> None:
    """Check that Compose is installed and that a Docker daemon answers.

    Raises
    ------
    DownloadError
        When one of them is missing.
    """
    if shutil.which("docker") is None:
        raise DownloadError("docker is not installed")
    if _quiet("docker", "compose", "version") != 0:
        raise DownloadError("docker has no compose command")
    if _quiet("docker", "info") != 0:
        raise DownloadError("no Docker daemon answers")


def _quiet(*command: str) -> int:
    try:
        answer = subprocess.run(command, capture_output=True, timeout=SECONDS_FOR_ANSWER, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return answer.returncode


def pull(version: str, report: Callable[[str], None]) -> None:
    """Pull the image; Docker checks its digests.

    Raises
    ------
    DownloadError
        When Docker cannot pull it.
    """
    image = f"docker.elastic.co/elasticsearch/elasticsearch:{version}"
    if _quiet("docker", "image", "inspect", image) == 0:
        return
    report(f"fetching {image}")
    answer = subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise DownloadError(_last_line(answer.stderr) or f"docker pull ended with {answer.returncode}")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()


class DockerEngine:
    """Start, watch and stop the node's container.

    Parameters
    ----------
    layout
        The node's folders.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def start(self, version: str, launch: Launch) -> None:
        """Start the container in the background.

        Raises
        ------
        NodeError
            When Docker cannot.
        """
        environment = container_environment(launch.password.get_secret_value(), launch.heap)
        write_atomically(self._layout.container_environment, environment, 0o600)
        variables = compose_variables(version, self._layout, launch.account, launch.port)
        answer = self._compose("up", "--detach", variables=variables)
        if answer.returncode != 0:
            raise NodeError(f"Docker could not start Elasticsearch: {_last_line(answer.stderr)}")

    def running(self) -> bool:
        """Return whether the container is running."""
        if shutil.which("docker") is None:
            return False
        answer = self._compose("ps", "--status", "running", "--quiet")
        return answer.returncode == 0 and bool(answer.stdout.strip())

    def pid(self) -> int | None:
        """Return None: the process id inside a container has no meaning outside."""
        return None

    def failed(self) -> bool:
        """Return whether the start has failed, that is, whether the container has ended."""
        return not self.running()

    def detach(self) -> None:
        """Do nothing: Docker keeps the container."""

    def stop(self) -> None:
        """Stop and remove the container; its data is kept."""
        answer = self._compose("down", "--timeout", str(SECONDS_TO_STOP))
        if answer.returncode != 0:
            raise NodeError(f"Docker could not stop Elasticsearch: {_last_line(answer.stderr)}")

    def output(self) -> str:
        """Return what the server printed last."""
        return self._compose("logs", "--no-color", "--no-log-prefix", "--tail", "200").stdout

    def _compose(self, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        # Compose reads the whole file for every command, and requires a value for each variable.
        placeholders = compose_variables("0", self._layout, Account(os.geteuid(), os.getegid()), 9200)
        if not self._layout.container_environment.exists():
            placeholders["SIMQUERY_NODE_ENVIRONMENT"] = os.devnull
        environment = {**os.environ, **placeholders, **(variables or {})}
        project = project_name(self._layout.home)
        with as_file(files("simquery.node") / "compose.yml") as compose:
            command = ["docker", "compose", "--project-name", project, "--file", str(compose), *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
