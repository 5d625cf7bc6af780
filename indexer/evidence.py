"""The files below an evidence folder, and the reasons why some of them cannot be read."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simquery.errors import FolderError
from simquery.paths import display_path
from simquery.pictures.files import VANISHED, FileState
from simquery.pictures.reach import look_at, open_quietly

__all__ = [
    "EvidenceFile",
    "check_folder",
    "check_folders",
    "inspect",
    "is_folder",
    "is_gone",
    "is_too_long",
    "opened_folder",
    "scan",
    "too_long",
    "unlisted",
]

_LONGEST_TEXT = 32_766
"""Most bytes in the text of a path that the ledger can hold: Lucene does not accept longer terms."""

_LONGEST_ESCAPE = 4
"""Most characters of text for one byte of a path."""


@dataclass(frozen=True)
class EvidenceFile:
    """A path in an evidence folder, in the state in which it was seen.

    Attributes
    ----------
    path
        Absolute path; bytes that are not UTF-8 are kept (surrogateescape).
    size
        In bytes.
    mtime_ns
        Modification time in nanoseconds since 1970.
    unreadable
        Why it cannot be read at all, for example because a folder does not permit listing.
    skipped
        Why it is skipped: a symbolic link, a device, or an option that leaves it out.
    rule
        The option that leaves it out; a run without that option looks at the path again.
    """

    path: Path
    size: int = 0
    mtime_ns: int = 0
    unreadable: str | None = None
    skipped: str | None = None
    rule: str | None = None

    @property
    def state(self) -> FileState:
        """Size and modification time, which differ after the file has changed."""
        return FileState(self.size, self.mtime_ns)


def check_folder(folder: Path) -> Path:
    """Return the evidence folder as an absolute path.

    Raises
    ------
    FolderError
        When it is missing, not a folder, or cannot be listed.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  (resolve() would follow symbolic links)
    try:
        with opened_folder(folder, is_root=True):
            return folder
    except FileNotFoundError:
        raise FolderError(f"There is no folder '{display_path(folder)}'.") from None
    except NotADirectoryError:
        raise FolderError(f"'{display_path(folder)}' is not a folder.") from None
    except OSError as error:
        raise FolderError(f"The folder '{display_path(folder)}' cannot be read: {error.strerror}.") from None


def check_folders(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return evidence folders as absolute paths, without those inside another one.

    Raises
    ------
    FolderError
        As for `check_folder`.
    """
    checked = sorted({check_folder(folder) for folder in folders})
    return tuple(path for path in checked if not any(other in path.parents for other in checked))


@contextmanager
def opened_folder(folder: Path, *, is_root: bool = False) -> Iterator[int]:
    """Open a folder for ``os.scandir``, without changing its access time if the system allows that.

    Parameters
    ----------
    folder
        A path of any length.
    is_root
        Whether it is the evidence folder itself, which may be given as a link. No other link is followed.

    Raises
    ------
    OSError
        When the path is not a folder, or cannot be listed.
    """
    descriptor = open_quietly(folder, os.O_DIRECTORY | (0 if is_root else os.O_NOFOLLOW))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def scan(folder: Path) -> Iterator[EvidenceFile]:
    """Walk a folder depth-first, in the order of the names, so that the same folder gives the same sequence.

    Symbolic links are reported but not followed: they may lead out of the evidence, or in circles. No folder stays open
    between two files, so a disk can be unmounted in the meantime.
    """
    waiting = [_entries(folder, is_root=True)]
    while waiting:
        for found in waiting[-1]:
            if isinstance(found, EvidenceFile):
                yield found
            else:
                waiting.append(_entries(found))
                break
        else:
            waiting.pop()


def scan_folders(folders: Iterable[Path]) -> Iterator[EvidenceFile]:
    """Walk one folder after another."""
    for folder in folders:
        yield from scan(folder)


def is_folder(path: Path) -> bool:
    """Return whether a path is itself a folder, not a link to one; False if it cannot be examined."""
    try:
        return stat.S_ISDIR(look_at(path).st_mode)
    except OSError:
        return False


def is_gone(path: Path) -> bool:
    """Return whether a path certainly does not exist; False if it cannot be examined."""
    try:
        look_at(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def inspect(path: Path) -> EvidenceFile:
    """Examine one path that is not a folder."""
    try:
        facts = look_at(path)
    except FileNotFoundError:
        return EvidenceFile(path, unreadable=VANISHED)
    except OSError as error:
        return EvidenceFile(path, unreadable=f"cannot be looked at: {error.strerror}")
    skipped = None
    if stat.S_ISLNK(facts.st_mode):
        skipped = "a symbolic link"
    elif not stat.S_ISREG(facts.st_mode):
        skipped = "not a regular file"
    return EvidenceFile(path, facts.st_size, facts.st_mtime_ns, skipped=skipped)


def unlisted(folder: Path, error: OSError) -> EvidenceFile:
    """Return an entry for all files of a folder that cannot be listed."""
    return EvidenceFile(folder, unreadable=f"the folder cannot be listed: {error.strerror}")


def too_long(folder: Path, count: int) -> EvidenceFile:
    """Return an entry for the paths in a folder that are too long for the ledger."""
    reason = f"{count:,} paths in this folder have more than {_LONGEST_TEXT:,} bytes, too many for the ledger"
    return EvidenceFile(folder, unreadable=reason)


def is_too_long(path: bytes) -> bool:
    """Return whether a path is too long for the ledger."""
    if len(path) * _LONGEST_ESCAPE <= _LONGEST_TEXT:
        return False
    return len(display_path(Path(os.fsdecode(path))).encode()) > _LONGEST_TEXT


def _entries(folder: Path, *, is_root: bool = False) -> Iterator[EvidenceFile | Path]:
    """Yield the files in a folder, and the paths of the folders in it, in the order of their names."""
    try:
        with opened_folder(folder, is_root=is_root) as descriptor, os.scandir(descriptor) as entries:
            names = sorted((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield unlisted(folder, error)
        return
    not_recorded = 0
    for name, is_directory in names:
        path = folder / os.fsdecode(name)
        if is_too_long(os.fsencode(path)):
            not_recorded += 1
        else:
            yield path if is_directory else inspect(path)
    if not_recorded:
        yield too_long(folder, not_recorded)
