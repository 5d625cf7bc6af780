"""Unpacking of archives, without writing outside the target folder."""

import posixpath
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from simquery.errors import DownloadError
from simquery.node.files import disk_errors

__all__ = ["unpack_tar", "unpack_zip"]


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpack a ``.tar.gz`` without its outermost folder. Links and paths that leave the target are refused.

    Raises
    ------
    DownloadError
        When the archive is damaged.
    """
    inner = target.with_name(f"{target.name}-unpacking")
    try:
        with disk_errors(target), tarfile.open(archive, "r:gz") as tar:
            _extract(tar, inner)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadError(f"'{archive.name}' is damaged ({error})") from None
    folders = list(inner.iterdir())
    if len(folders) != 1 or not folders[0].is_dir():
        raise DownloadError(f"'{archive.name}' does not contain a single folder, as Elasticsearch's archives do")
    folders[0].rename(target)


def _extract(tar: tarfile.TarFile, target: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(target, filter="data")
        return
    for member in tar.getmembers():  # Python before 3.11.4 checks nothing by itself
        usual = member.isreg() or member.isdir() or member.issym()
        link = posixpath.join(posixpath.dirname(member.name), member.linkname) if member.issym() else ""
        if not usual or any(posixpath.normpath(path).startswith(("/", "..")) for path in (member.name, link)):
            raise tarfile.TarError(f"'{member.name}' does not belong in it")
    tar.extractall(target)  # noqa: S202


def unpack_zip(archive: Path, folder: str, target: Path) -> None:
    """Unpack one folder of a zip file, readable for everybody and writable for its owner only.

    Parameters
    ----------
    archive, target
        The zip file, and the folder to write to.
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
        with disk_errors(target), zipfile.ZipFile(archive) as bundle:
            for member in bundle.infolist():
                parts = PurePosixPath(member.filename).parts
                if member.is_dir() or parts[1:2] != (folder,) or ".." in parts:
                    continue
                found = True
                path = target.joinpath(*parts[2:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                path.chmod(0o755 if (member.external_attr >> 16) & 0o100 else 0o644)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DownloadError(f"'{archive.name}' is damaged ({error})") from None
    if not found:
        raise DownloadError(f"'{archive.name}' contains no folder '{folder}'")
