"""Every file below an evidence folder, and what stands in the way of reading some of them."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from simquery.errors import FolderError
from simquery.paths import display_path
from simquery.pictures.files import VANISHED, FileState

__all__ = ["EvidenceFile", "check_folder", "check_folders", "inspect", "is_folder", "is_gone", "scan"]


@dataclass(frozen=True)
class EvidenceFile:
    """A path in an evidence folder, as it was when it was seen.

    Attributes
    ----------
    path
        Absolute; bytes that are not UTF-8 are kept (surrogateescape).
    size
        In bytes.
    mtime_ns
        Modification time in nanoseconds since 1970.
    unreadable
        Why it cannot be read at all, for example a folder without the right to list it.
    skipped
        Why it is not looked into: a symbolic link, a device, an option that leaves it out.
    rule
        That option. A run without it looks at the path again.
    """

    path: Path
    size: int = 0
    mtime_ns: int = 0
    unreadable: str | None = None
    skipped: str | None = None
    rule: str | None = None

    @property
    def state(self) -> FileState:
        """What tells a changed file from this one."""
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
        with os.scandir(folder):
            return folder
    except FileNotFoundError:
        raise FolderError(f"There is no folder '{display_path(folder)}'.") from None
    except NotADirectoryError:
        raise FolderError(f"'{display_path(folder)}' is not a folder.") from None
    except OSError as error:
        raise FolderError(f"The folder '{display_path(folder)}' cannot be read: {error.strerror}.") from None


def check_folders(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return evidence folders as absolute paths, without those that lie in another one.

    Raises
    ------
    FolderError
        As `check_folder` does.
    """
    checked = sorted({check_folder(folder) for folder in folders})
    return tuple(path for path in checked if not any(other in path.parents for other in checked))


def scan(folder: Path) -> Iterator[EvidenceFile]:
    """Walk a folder depth-first, in the order of the names: the same folder gives the same sequence.

    Symbolic links are reported and not followed: they may lead out of the evidence, or in circles.
    """
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path is not folder and not is_folder(path):
            yield inspect(path)
            continue
        try:
            with os.scandir(path) as entries:
                names = sorted((os.fsencode(entry.name) for entry in entries), reverse=True)
        except OSError as error:
            yield EvidenceFile(path, unreadable=f"the folder cannot be listed: {error.strerror}")
        else:
            waiting.extend(path / os.fsdecode(name) for name in names)


def scan_folders(folders: Iterable[Path]) -> Iterator[EvidenceFile]:
    """Walk one folder after the other."""
    for folder in folders:
        yield from scan(folder)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder itself, not a link to one; what cannot be looked at is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_gone(path: Path) -> bool:
    """Whether there is certainly nothing at a path; what cannot be looked at may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def inspect(path: Path) -> EvidenceFile:
    """Look at one path that is not a folder."""
    try:
        facts = path.lstat()
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
