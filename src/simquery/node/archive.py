"""The server from Elastic's official archive, which brings its own Java."""

import platform
import sys
from collections.abc import Callable
from pathlib import Path

from simquery.errors import DownloadError
from simquery.node.cache import VERSION, keep
from simquery.node.distribution import Distribution
from simquery.node.download import download, fetch_text
from simquery.node.files import checksum, require_space, scratch_folder
from simquery.node.unpacking import unpack_tar

__all__ = ["ARCHIVES", "archive_name", "fetch_archive"]

ARCHIVES = "https://artifacts.elastic.co/downloads/elasticsearch"
"""Where Elastic publishes the archives."""

ARCHIVE_SPACE = 2_600_000_000
"""Bytes for the archive and its unpacked content, which includes Java and machine learning."""


def archive_name(system: str = sys.platform, machine: str = platform.machine()) -> str:
    """Return the name of the archive for a kind of computer.

    Raises
    ------
    DownloadError
        When Elastic publishes no archive for it.
    """
    machines = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    if system not in {"linux", "darwin"} or machine.lower() not in machines:
        raise DownloadError(f"there is no archive for {system} on {machine}")
    return f"elasticsearch-{VERSION}-{system}-{machines[machine.lower()]}.tar.gz"


def fetch_archive(cache: Path, report: Callable[[str], None], base_url: str = ARCHIVES) -> Distribution:
    """Fetch Elastic's archive and check it against the SHA-512 published beside it.

    Raises
    ------
    DownloadError
        When the archive cannot be downloaded, or is not the file that was published.
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
            raise DownloadError(f"'{base_url}/{name}' does not have its published SHA-512")
        report(f"SHA-512 as published; unpacking {name}")
        unpack_tar(archive, scratch / "server")
        return keep(scratch / "server", cache, "archive")
