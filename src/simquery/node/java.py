"""Find a Java that can run Elasticsearch: a JDK, version 21 or newer, with the module ``jdk.jdi``.

On a runtime without that module (a JRE), Elasticsearch starts and then fails, so simquery checks the modules first.
Most JDKs list them in a file named ``release``; for the others, simquery runs ``java``.
"""

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from simquery.errors import JavaError

__all__ = ["Jdk", "find_jdk", "inspect_jdk", "newest_supported"]

OLDEST = 21
LONG_TERM_SUPPORT_CYCLE = 4
"""Java 21, 25, 29 … are supported for years, the releases between them for six months."""

SYSTEM_PATTERNS = (
    "/usr/lib/jvm/*",
    "/usr/lib64/jvm/*",
    "/usr/java/*",
    "/usr/local/java/*",
    "/usr/local/openjdk*",
    "/usr/local/*jdk*",
    "/opt/*",
    "/opt/java/*",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
)
USER_PATTERNS = (
    ".sdkman/candidates/java/*",
    ".jdks/*",
    ".asdf/installs/java/*",
    ".local/share/mise/installs/java/*",
)


@dataclass(frozen=True)
class Jdk:
    """A Java installation: its folder, its feature release (21, 25 …), and whether it is a full JDK."""

    home: Path
    feature: int
    complete: bool

    @property
    def binary(self) -> Path:
        """The program ``java``."""
        return self.home / "bin" / "java"

    @property
    def suitable(self) -> bool:
        """Whether Elasticsearch runs on it."""
        return self.feature >= OLDEST and self.complete

    @property
    def fault(self) -> str:
        """Why it is not suitable; the installation is the subject of the sentence."""
        if self.feature < OLDEST:
            return f"is Java {self.feature}"
        return "is a runtime without the module jdk.jdi, not a full JDK"


def inspect_jdk(home: Path) -> Jdk | None:
    """Return the Java installation in a folder, or None if it contains no executable ``java``."""
    binary = home / "bin" / "java"
    if not binary.is_file():
        return None
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    facts = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
    if "MODULES" not in facts or "JAVA_VERSION" not in facts:
        return _ask(home, binary)
    feature = _feature(facts["JAVA_VERSION"])
    return None if feature is None else Jdk(home, feature, "jdk.jdi" in facts["MODULES"].split())


def _ask(home: Path, binary: Path) -> Jdk | None:
    try:
        answer = subprocess.run([binary, "--list-modules"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    modules = dict(line.split("@", 1) for line in answer.stdout.split() if "@" in line)
    feature = _feature(modules.get("java.base", ""))
    return None if feature is None else Jdk(home, feature, "jdk.jdi" in modules)


def _feature(version: str) -> int | None:
    """Return Java's feature release: 8 for ``1.8.0_402``, 25 for ``25.0.3``."""
    found = re.match(r"(?:1\.)?(\d+)", version)
    return int(found[1]) if found else None


def newest_supported(found: Iterable[Jdk]) -> Jdk | None:
    """Choose the newest JDK with long-term support, or else the newest."""

    def rank(jdk: Jdk) -> tuple[bool, int, str]:
        return (jdk.feature - OLDEST) % LONG_TERM_SUPPORT_CYCLE == 0, jdk.feature, str(jdk.home)

    return max((jdk for jdk in found if jdk.suitable), key=rank, default=None)


def find_jdk(
    chosen: Path | None,
    environment: Mapping[str, str],
    bundled: Path | None = None,
    reachable: Callable[[Path], bool] = lambda _: True,
    patterns: Iterable[str] | None = None,
) -> Jdk:
    """Find a JDK that can run Elasticsearch.

    This returns the first suitable one of: the user's setting; ES_JAVA_HOME; the JDK that came with Elasticsearch;
    JAVA_HOME; ``java`` on PATH; the JDKs installed on the system.

    Parameters
    ----------
    chosen
        The user's setting, or None. If it is set, nothing else is tried.
    environment
        Environment variables.
    bundled
        The JDK that came with Elasticsearch, or None.
    reachable
        Function that returns whether the server's user can execute a program.
    patterns
        Where to look for installed JDKs (for tests); None for the usual places.

    Raises
    ------
    JavaError
        When there is none. The message names each Java that was found, and why it is not suitable.
    """
    if chosen is not None:
        jdk = inspect_jdk(chosen.expanduser().absolute())
        if jdk is None:
            raise JavaError(f"SIMQUERY_JAVA_HOME names '{chosen}', where there is no bin/java.")
        if not jdk.suitable:
            raise JavaError(
                f"SIMQUERY_JAVA_HOME names '{chosen}', which {jdk.fault}: a JDK {OLDEST} or newer is needed."
            )
        if not reachable(jdk.binary):
            raise JavaError(f"SIMQUERY_JAVA_HOME names '{chosen}', which the server's user cannot reach.")
        return jdk

    rejected: dict[Path, str] = {}

    def usable(home: Path) -> Jdk | None:
        jdk = inspect_jdk(home)
        if jdk is None:
            return None
        if jdk.suitable and reachable(jdk.binary):
            return jdk
        rejected[jdk.home] = "cannot be reached by the server's user" if jdk.suitable else jdk.fault
        return None

    for home in _preferred(environment, bundled):
        jdk = usable(home)
        if jdk is not None:
            return jdk
    homes = {home.resolve() for home in _installed(patterns)}
    best = newest_supported(jdk for home in sorted(homes) if (jdk := usable(home)) is not None)
    if best is not None:
        return best
    seen = "; ".join(f"'{home}' {fault}" for home, fault in rejected.items())
    raise JavaError(
        f"Elasticsearch needs a JDK {OLDEST} or newer (a full JDK, not a JRE), and none was found. "
        f"{f'Found: {seen}. ' if seen else ''}Install one, or set SIMQUERY_JAVA_HOME to its folder."
    )


def _preferred(environment: Mapping[str, str], bundled: Path | None) -> Iterable[Path]:
    if environment.get("ES_JAVA_HOME"):
        yield Path(environment["ES_JAVA_HOME"])
    if bundled is not None:
        yield bundled
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    program = which("java", path=environment.get("PATH", ""))
    if program is not None:
        yield Path(program).resolve().parent.parent


def _installed(patterns: Iterable[str] | None) -> Iterable[Path]:
    if patterns is None:
        patterns = [*SYSTEM_PATTERNS, *(str(Path.home() / pattern) for pattern in USER_PATTERNS)]
    for pattern in patterns:
        yield from (home for home in Path("/").glob(pattern.lstrip("/")) if (home / "bin" / "java").is_file())
