"""Files on their way to the disk: room for them, downloads, checksums, archives, atomic writes."""

import errno
import hashlib
import http.client
import os
import posixpath
import queue
import shutil
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from simquery.errors import DiskSpaceError, DownloadError, NodeError

__all__ = [
    "checksum",
    "download",
    "fetch_text",
    "human_size",
    "remove_scratch",
    "require_space",
    "scratch_folder",
    "unpack_tar",
    "unpack_zip",
    "write_atomically",
]

CHUNK = 1 << 20
SCRATCH = ".fetching-"
SECONDS_BETWEEN_REPORTS = 10.0
SECONDS_TO_CONNECT = 5.0
"""Long enough for a slow network, short enough for a machine without one."""
SECONDS_OF_SILENCE = 30.0
"""After which a download is given up."""


def human_size(size: float) -> str:
    """Bytes for people: ``947 MB``, ``1.3 GB``."""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:  # noqa: PLR2004
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def require_space(folder: Path, need: int, purpose: str) -> None:
    """Check that a file system has room.

    Parameters
    ----------
    folder
        A folder on that file system; it need not exist yet.
    need
        Bytes that must be free.
    purpose
        What they are for, to be read before "need".

    Raises
    ------
    DiskSpaceError
        When there are fewer.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise DiskSpaceError(
            f"Only {human_size(free)} are free at '{folder}', and {purpose} need {human_size(need)}. "
            f"Make room, or point simquery to another disk (SIMQUERY_HOME, SIMQUERY_CACHE)."
        )


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """Turn what a full or read-only disk says into an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskSpaceError(f"The disk became full while writing '{target}'.") from None
        raise NodeError(f"'{target}' cannot be written: {error.strerror or error}.") from None


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder beside the final place; it is removed at the end with all that is left in it."""
    with _disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch(parent: Path) -> None:
    """Remove what a fetch that was killed has left behind; nobody else may be fetching meanwhile."""
    for folder in parent.glob(f"{SCRATCH}*"):
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, text: str, mode: int, *, uid: int = -1, gid: int = -1) -> None:
    """Replace a file as a whole, never following a link that somebody put in its place.

    Parameters
    ----------
    path, text, mode
        File, content, permissions. The content is never readable with wider permissions than these.
    uid, gid
        Owner and group of the file; -1 for the caller's.

    Raises
    ------
    NodeError
        When the file cannot be written.
    """
    with _disk_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fchown(stream.fileno(), uid, gid)
                os.fchmod(stream.fileno(), mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def checksum(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


@contextmanager
def _download_errors(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DownloadError(f"'{url}' answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"'{url}' cannot be reached ({getattr(reason, 'strerror', None) or reason})") from None


def fetch_text(url: str) -> str:
    """Fetch a small text file.

    Raises
    ------
    DownloadError
        When it cannot be had.
    """
    outcome: queue.SimpleQueue[str | DownloadError] = queue.SimpleQueue()

    def fetch() -> None:
        try:
            with _download_errors(url), urllib.request.build_opener().open(url, timeout=SECONDS_TO_CONNECT) as answer:
                outcome.put(answer.read(CHUNK).decode("utf-8", "replace"))
        except DownloadError as error:
            outcome.put(error)

    # Looking up a name has no time limit of its own, and takes half a minute on a machine whose network is cut.
    threading.Thread(target=fetch, daemon=True).start()
    try:
        text = outcome.get(timeout=2 * SECONDS_TO_CONNECT)
    except queue.Empty:
        raise DownloadError(f"'{url}' cannot be reached (no answer in {2 * SECONDS_TO_CONNECT:.0f} s)") from None
    if isinstance(text, DownloadError):
        raise text
    return text


def download(url: str, target: Path, report: Callable[[str], None]) -> None:
    """Fetch a large file, with a line on the progress every few seconds.

    Raises
    ------
    DownloadError
        When the connection fails, or ends before the file does.
    DiskSpaceError
        When the disk is full.
    """
    with _download_errors(url):
        answer = urllib.request.build_opener().open(url, timeout=SECONDS_OF_SILENCE)
    started = reported = time.monotonic()
    total = int(answer.headers.get("Content-Length") or 0)
    done = 0
    with answer, _disk_errors(target), target.open("wb") as stream:
        while True:
            with _download_errors(url):
                chunk = answer.read(CHUNK)
            if not chunk:
                break
            stream.write(chunk)
            done += len(chunk)
            now = time.monotonic()
            if now - reported >= SECONDS_BETWEEN_REPORTS:
                reported = now
                of_total = f" of {human_size(total)}" if total else ""
                report(f"  {human_size(done)}{of_total}, {human_size(done / (now - started))}/s")
    if done < total:
        raise DownloadError(f"'{url}' ended after {human_size(done)} of {human_size(total)}")


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpack a ``.tar.gz`` without its outermost folder; links and paths that leave the target are refused.

    Raises
    ------
    DownloadError
        When the archive is damaged.
    """
    inner = target.with_name(f"{target.name}-unpacking")
    try:
        with _disk_errors(target), tarfile.open(archive, "r:gz") as tar:
            _extract(tar, inner)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadError(f"'{archive.name}' is damaged ({error})") from None
    folders = list(inner.iterdir())
    if len(folders) != 1 or not folders[0].is_dir():
        raise DownloadError(f"'{archive.name}' does not hold one folder, as Elasticsearch's archives do")
    folders[0].rename(target)


def _extract(tar: tarfile.TarFile, target: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(target, filter="data")
        return
    for member in tar.getmembers():  # Python before 3.11.4 looks at nothing by itself
        usual = member.isreg() or member.isdir() or member.issym()
        link = posixpath.join(posixpath.dirname(member.name), member.linkname) if member.issym() else ""
        if not usual or any(posixpath.normpath(path).startswith(("/", "..")) for path in (member.name, link)):
            raise tarfile.TarError(f"'{member.name}' does not belong into it")
    tar.extractall(target)  # noqa: S202


def unpack_zip(archive: Path, folder: str, target: Path) -> None:
    """Unpack one folder of a zip file, readable for everybody and writable for its owner only.

    Parameters
    ----------
    archive, target
        From where, to where.
    folder
        Name of the folder, one level down in the archive: for ``elasticsearch``, the member
        ``x/elasticsearch/lib/y`` is written to ``target/lib/y``.

    Raises
    ------
    DownloadError
        When the archive is damaged or has no such folder.
    """
    found = False
    try:
        with _disk_errors(target), zipfile.ZipFile(archive) as bundle:
            for member in bundle.infolist():
                parts = PurePosixPath(member.filename).parts
                if member.is_dir() or parts[1:2] != (folder,) or ".." in parts:
                    continue
                found = True
                path = target.joinpath(*parts[2:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
                path.chmod(0o755 if (member.external_attr >> 16) & 0o100 else 0o644)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DownloadError(f"'{archive.name}' is damaged ({error})") from None
    if not found:
        raise DownloadError(f"'{archive.name}' holds no folder '{folder}'")
