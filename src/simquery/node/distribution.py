"""An Elasticsearch on this machine's disk, and the commands that start its programs.

Elastic's archives and packages bring start scripts, which Elastic supports, so simquery uses them where they exist.
The copy that comes through Maven has none; there, simquery starts Java the way the scripts do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simquery.errors import NodeError
from simquery.node.java import Jdk

__all__ = ["Distribution", "open_distribution"]

SMALL_JVM = ("-Xms4m", "-Xmx64m", "-XX:+UseSerialGC")
"""Options of Java for the programs that start and configure the server, as in Elastic's scripts."""


@dataclass(frozen=True)
class Distribution:
    """The files of one Elasticsearch, where they came from, and their version."""

    home: Path
    source: str
    version: str

    @property
    def bundled_jdk(self) -> Path | None:
        """The Java that came with it, or None."""
        for folder in ("jdk", "jdk.app/Contents/Home"):
            if (self.home / folder / "bin" / "java").is_file():
                return self.home / folder
        return None

    @property
    def modules(self) -> frozenset[str]:
        """Names of its modules."""
        folder = self.home / "modules"
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    def server_command(self, jdk: Jdk, pid_file: Path) -> list[str]:
        """Build the command that starts the server and returns once it runs in the background."""
        script = self.home / "bin" / "elasticsearch"
        if script.is_file():
            return [str(script), "-d", "-p", str(pid_file)]
        libraries = self.home / "lib" / "tools" / "server-launcher" / "*"
        launcher = "org.elasticsearch.server.launcher.ServerLauncher"
        return [str(jdk.binary), *SMALL_JVM, "-cp", str(libraries), launcher, "-d", "-p", str(pid_file)]

    def keystore_command(self, jdk: Jdk, config: Path, *arguments: str) -> list[str]:
        """Build the command for the tool that keeps the server's secrets."""
        script = self.home / "bin" / "elasticsearch-keystore"
        if script.is_file():
            return [str(script), *arguments]
        properties = {
            "cli.name": "keystore",
            "cli.script": str(script),
            "cli.libs": "lib/tools/keystore-cli",
            "es.path.home": str(self.home),
            "es.path.conf": str(config),
            "es.distribution.type": "tar",
            "es.java.type": "ES_JAVA_HOME",
        }
        return [
            str(jdk.binary),
            *SMALL_JVM,
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-cp",
            f"{self.home}/lib/*:{self.home}/lib/cli-launcher/*",
            "org.elasticsearch.launcher.CliToolLauncher",
            *arguments,
        ]

    def environment(self, jdk: Jdk, config: Path, tmp: Path, outer: Mapping[str, str]) -> dict[str, str]:
        """Choose the environment of these commands: only language, PATH and time zone come from the caller's."""
        kept = {name: outer[name] for name in ("LANG", "LC_ALL", "PATH", "TZ") if name in outer}
        return kept | {
            "HOME": str(tmp),
            "ES_HOME": str(self.home),
            "ES_PATH_CONF": str(config),
            "ES_JAVA_HOME": str(jdk.home),
            "JAVA_HOME": str(jdk.home),
            "JAVA": str(jdk.binary),
            "JAVA_TYPE": "ES_JAVA_HOME",
            "ES_DISTRIBUTION_TYPE": "tar",
            "ES_JAVA_OPTS": "",
            "ES_TMPDIR": str(tmp),
            "LIBFFI_TMPDIR": str(tmp),
        }


def open_distribution(home: Path, source: str) -> Distribution:
    """Return the Elasticsearch in a folder.

    Raises
    ------
    NodeError
        When the folder does not contain one.
    """
    for jar in home.glob("lib/elasticsearch-*.jar"):
        found = re.fullmatch(r"elasticsearch-(\d+\.\d+\.\d+)(?:-\w+)?\.jar", jar.name)
        if found:
            return Distribution(home, source, found[1])
    raise NodeError(f"'{home}' does not contain Elasticsearch: there is no lib/elasticsearch-<version>.jar in it.")
