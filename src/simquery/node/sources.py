"""The sources of Elasticsearch: the user's installation, Docker Compose, Elastic's archive, or Maven.

A server that was downloaded before is used again, without network access.
"""

from collections.abc import Callable
from pathlib import Path

from simquery.cluster.client import MINIMUM_VERSION
from simquery.errors import DownloadError, NodeError
from simquery.node import docker
from simquery.node.account import Account
from simquery.node.archive import ARCHIVES, fetch_archive
from simquery.node.cache import VERSION, fetched_before, locked
from simquery.node.distribution import Distribution, open_distribution
from simquery.node.maven import fetch_with_maven

__all__ = ["Container", "find_server"]


class Container:
    """Elasticsearch as a container image, which Docker keeps."""

    source = "docker"
    version = VERSION


def find_server(
    chosen: Path | None,
    cache: Path,
    account: Account,
    report: Callable[[str], None],
    *,
    require_jdk: Callable[[], object],
    base_url: str = ARCHIVES,
) -> Distribution | Container:
    """Find or download Elasticsearch.

    Parameters
    ----------
    chosen
        The user's installation, or None. If it is set, nothing else is tried.
    cache
        Folder for downloaded servers.
    account
        Account that the server runs as, which must be able to read it.
    report
        Called with one line per step.
    require_jdk
        Function that raises `JavaError` if the system has no JDK. The server from Maven needs one, and this is checked
        before a gigabyte is downloaded.
    base_url
        Where Elastic publishes the archives.

    Raises
    ------
    DownloadError
        When every source fails; the message gives the reason for each.
    NodeError
        When the user's installation cannot be used.
    """
    if chosen is not None:
        server = open_distribution(chosen.expanduser().absolute(), "installation")
        if tuple(int(part) for part in server.version.split(".")) < MINIMUM_VERSION:
            needed = ".".join(map(str, MINIMUM_VERSION))
            raise NodeError(f"'{chosen}' contains Elasticsearch {server.version}; simquery needs {needed} or newer.")
        _check_reach(server.home, account, "SIMQUERY_ELASTICSEARCH_HOME")
        return server
    cache = cache.expanduser().absolute()
    kept = fetched_before(cache)
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
    with locked(cache):
        kept = fetched_before(cache)  # another process may have downloaded it while this one waited
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
        "Elasticsearch could not be downloaded. "
        + " ".join(f"{failure.rstrip('.')}." for failure in failures)
        + f" Without a network, unpack an Elasticsearch {VERSION} of your own "
        "and set SIMQUERY_ELASTICSEARCH_HOME to its folder."
    )


def _check_reach(home: Path, account: Account, setting: str) -> None:
    blocked = account.blocked_by(home)
    if blocked is not None:
        raise NodeError(
            f"The server runs as user {account.uid}, not as root, and cannot enter '{blocked}'. "
            f"Allow it (chmod o+x '{blocked}') or set {setting} to another folder."
        )
