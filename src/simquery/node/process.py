"""The node as a process of this machine, in its own session, identified by its process id and its arguments."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from simquery.errors import NodeError
from simquery.node.config import LOGGING, elasticsearch_yml, jvm_options, own_jvm_options
from simquery.node.distribution import Distribution
from simquery.node.files import write_atomically
from simquery.node.java import Jdk
from simquery.node.layout import Launch, Layout

__all__ = ["ProcessEngine", "last_words", "marker"]

SECONDS_TO_STOP = 60.0
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_FOR_TOOL = 120.0

TELLING = re.compile(r"ERROR|FATAL|Exception|Caused by|died|[Ff]atal|[Ee]rror[:=].|insufficient memory")


def marker(home: Path) -> str:
    """Return an argument without effect for Java, which identifies the process of the node with this home.

    A process id alone is not enough: after a power failure, another program can have the id in the pid file.
    """
    return f"-Dsimquery.node={home}"


def last_words(text: str, limit: int = 6) -> str:
    """Return the lines of a server's output that tell why it ended: errors and causes, without stack traces."""
    lines = [line.strip("# \t") for line in text.splitlines() if line.strip("# \t")]
    lines = [line for line in lines if not re.match(r"at |\.\.\. \d+ more|likely root cause", line)]
    telling = [line for line in lines if TELLING.search(line)]
    return "\n".join(list(dict.fromkeys(telling or lines))[-limit:])


class ProcessEngine:
    """Start, watch and stop the node's process.

    Parameters
    ----------
    layout
        The node's folders.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._launcher: subprocess.Popen[bytes] | None = None

    def start(self, server: Distribution, jdk: Jdk, launch: Launch) -> None:
        """Configure the server and start it in the background; `failed` and `running` tell whether this succeeds.

        Raises
        ------
        NodeError
            When the configuration cannot be written, or Java cannot be started.
        """
        layout = self._layout
        self._write_configuration(server, launch)
        variables = server.environment(jdk, layout.config, layout.tmp, os.environ)
        if not layout.keystore.exists():
            self._set_password(server, jdk, launch, variables)
        layout.pid.unlink(missing_ok=True)
        with layout.console.open("wb") as console:
            layout.console.chmod(0o600)
            try:
                self._launcher = subprocess.Popen(
                    server.server_command(jdk, layout.pid),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    cwd=server.home,
                    env=variables,
                    umask=0o077,
                    start_new_session=True,  # so that it outlives the terminal, and Ctrl-C does not reach it
                    **launch.account.popen_options,
                )
            except OSError as error:
                raise NodeError(f"'{jdk.binary}' cannot be started: {error.strerror}.") from None

    def _write_configuration(self, server: Distribution, launch: Launch) -> None:
        layout = self._layout
        theirs = server.home / "config" / "jvm.options"
        options = theirs.read_text(encoding="utf-8") if os.access(theirs, os.R_OK) else jvm_options()
        (layout.config / "jvm.options.d").mkdir(exist_ok=True)
        (layout.config / "jvm.options.d").chmod(0o755)
        texts = {
            "elasticsearch.yml": elasticsearch_yml(layout.data, layout.logs, launch.port, server.modules),
            "log4j2.properties": LOGGING,
            "jvm.options": options,
            "jvm.options.d/simquery.options": own_jvm_options(launch.heap, marker(layout.home)),
        }
        for name, text in texts.items():
            write_atomically(layout.config / name, text, 0o640, gid=launch.account.gid)

    def _set_password(self, server: Distribution, jdk: Jdk, launch: Launch, variables: Mapping[str, str]) -> None:
        add = ("add", "--stdin", "--force", "--silent", "bootstrap.password")
        try:
            answer = subprocess.run(
                server.keystore_command(jdk, self._layout.config, *add),
                input=f"{launch.password.get_secret_value()}\n",  # other users can read command lines, but not a pipe
                capture_output=True,
                text=True,
                timeout=SECONDS_FOR_TOOL,
                check=False,
                cwd=server.home,
                env=dict(variables),
                umask=0o077,
                **launch.account.popen_options,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NodeError(f"Elasticsearch's keystore tool cannot be run: {error}.") from None
        if answer.returncode != 0:
            raise NodeError(f"Elasticsearch's keystore tool failed: {last_words(answer.stderr + answer.stdout)}")

    def pid(self) -> int | None:
        """Return the process id of the running server, or None if it is not running."""
        try:
            number = int(self._layout.pid.read_text(encoding="ascii"))
        except PermissionError:
            raise NodeError(f"The node in '{self._layout.home}' belongs to another user.") from None
        except (OSError, ValueError):
            return None
        return number if marker(self._layout.home) in _arguments(number) else None

    def running(self) -> bool:
        """Return whether the server is running."""
        return self.pid() is not None

    def failed(self) -> bool:
        """Return whether the start has failed: the launcher has ended, and there is no server."""
        launching = self._launcher is not None and self._launcher.poll() is None
        return not launching and not self.running()

    def detach(self) -> None:
        """Let go of the launcher, which ends by itself once the server runs."""
        if self._launcher is not None:
            with suppress(subprocess.TimeoutExpired):
                self._launcher.wait(SECONDS_TO_STOP)
            self._launcher = None

    def stop(self) -> None:
        """Stop the server, and the launcher if it has not ended yet; after a minute, kill them.

        Raises
        ------
        NodeError
            When the server belongs to another user.
        """
        pid = self.pid()
        if pid is not None:
            self._end(pid)
        if self._launcher is not None:
            # Its whole process group: the server in it may have no pid file yet, and would outlive its launcher.
            with suppress(ProcessLookupError):
                os.killpg(self._launcher.pid, signal.SIGKILL)
            self._launcher.wait()
        self._layout.pid.unlink(missing_ok=True)

    def _end(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGTERM)
            if not self._gone(pid, SECONDS_TO_STOP):
                os.kill(pid, signal.SIGKILL)
                self._gone(pid, SECONDS_TO_STOP)
        except ProcessLookupError:
            return
        except PermissionError:
            raise NodeError(f"The node (process {pid}) belongs to another user, who must stop it.") from None

    def _gone(self, pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while marker(self._layout.home) in _arguments(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def output(self) -> str:
        """Return what the server printed last."""
        try:
            return self._layout.console.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def _arguments(pid: int) -> list[str]:
    """Return the arguments of a process; none if it does not exist or has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return []
    # Without /proc: `ps` joins the arguments with spaces, so a home with spaces in its name is not found.
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.split()
