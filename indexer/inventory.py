"""Inventory of evidence folders, which takes little memory and finds what has changed."""

import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from simquery.indexer.evidence import EvidenceFile, inspect, is_gone, is_too_long, opened_folder, too_long, unlisted

__all__ = ["Inventory", "Missing"]

_SEPARATOR = b"/"
"""The only byte besides zero that no file name contains."""


@dataclass(frozen=True)
class Missing:
    """Files and folders that existed at the last look but do not exist now.

    Attributes
    ----------
    paths
        Missing files and folders; the files in a missing folder are not listed.
    files
        Number of missing files, including those in the folders.
    known
        Number of files at the last look.
    """

    paths: list[Path]
    files: int
    known: int


@dataclass(frozen=True, slots=True)
class _Listing:
    """Files in one folder: their sorted, joined names, their states, and an entry for files that cannot be listed."""

    names: bytes = b""
    states: "array[int]" = field(default_factory=lambda: array("q"))
    trouble: EvidenceFile | None = None
    is_listed: bool = True

    def by_name(self) -> dict[bytes, int]:
        return dict(zip(self.names.split(_SEPARATOR), self.states, strict=True)) if self.states else {}


class Inventory:
    """Remember the names and states of all files in some folders.

    This takes nine bytes per file in addition to its name, and a few hundred bytes per folder. During a look, the old
    and the new inventory are both in memory.

    Parameters
    ----------
    folders
        Evidence folders, as `check_folders` returns them.
    enter
        Called with the path and a descriptor of each folder before it is listed, so that it can be watched.
    """

    def __init__(self, folders: Iterable[Path], enter: Callable[[bytes, int], None]) -> None:
        self._roots = [os.fsencode(folder) for folder in folders]
        self._enter = enter
        self._listings: dict[bytes, _Listing] = {}
        self._noted: dict[bytes, int | None] = {}

    @property
    def noted(self) -> int:
        """Number of paths noted since the last look began."""
        return len(self._noted)

    def begin(self) -> None:
        """Take the inventory for the first time."""
        for root in self._roots:
            self._listings.update(self._walk(root))

    def note(self, file: EvidenceFile) -> None:
        """Remember a file that was not found by a look, so that the next look does not report it again."""
        self._noted[os.fsencode(file.path)] = _state(file.size, file.mtime_ns, is_regular=not file.skipped)

    def note_gone(self, path: Path) -> None:
        """Remember a path that was seen to disappear, so that the next look does not report it as missing."""
        self._noted[os.fsencode(path)] = None

    def look(self) -> Iterator[EvidenceFile | Missing]:
        """Look through all folders; yield files that are new or have changed, and finally what is missing.

        The walk proceeds as the caller iterates. Files below a folder that cannot be listed do not count as missing.
        The inventory forgets them, and they count as new once the folder can be listed again.
        """
        before, self._listings = self._listings, {}
        noted, self._noted = self._noted, {}
        count = sum(len(listing.states) for listing in before.values())
        missing: list[bytes] = []
        for root in self._roots:
            for path, now in self._walk(root):
                was = before.pop(path, _Listing())
                known = self._listings.get(path, was)  # it may have been looked into since this look began
                self._listings[path] = now
                yield from _changes(path, known, now, (noted, self._noted))
                if now.is_listed:
                    missing += [_join(path, name) for name in _lost(was, now)]
        hidden = {path for path, listing in self._listings.items() if not listing.is_listed}
        seen_to_go = {path for path, state in (noted | self._noted).items() if state is None}
        left = {path: was for path, was in before.items() if not _lies_below(path, hidden | seen_to_go)}
        unconfirmed = [path for path, state in noted.items() if state is not None and is_gone(_path(path))]
        missing = [path for path in dict.fromkeys(missing + unconfirmed) if not _lies_below(path, seen_to_go)]
        files = len(missing) + sum(len(was.states) for was in left.values())
        missing += [path for path in left if os.path.dirname(path) not in left]  # noqa: PTH120  (bytes)
        yield Missing(list(map(_path, missing)), files, count)

    def look_into(self, folder: Path) -> Iterator[EvidenceFile]:
        """Look through a folder that has appeared; yield files that are new or have changed."""
        self._noted.pop(os.fsencode(folder), None)
        for path, now in self._walk(os.fsencode(folder)):
            was = self._listings.get(path, _Listing())
            yield from _changes(path, was, now, (self._noted,))
            lost = dict.fromkeys(_lost(was, now), 0)  # the next full look decides whether they are missing
            self._listings[path] = _listing({**lost, **now.by_name()}, now.trouble) if lost else now

    def _walk(self, root: bytes) -> Iterator[tuple[bytes, _Listing]]:
        waiting = [root]
        while waiting:
            path = waiting.pop()
            try:
                listing, folders = self._list(path, is_root=path in self._roots)
            except (FileNotFoundError, NotADirectoryError) as error:
                if path in self._roots:  # its disk may have been unmounted
                    yield path, _unlisted(path, error)
            except OSError as error:
                yield path, _unlisted(path, error)
            else:
                waiting += reversed(folders)
                yield path, listing

    def _list(self, path: bytes, *, is_root: bool) -> tuple[_Listing, list[bytes]]:
        """List a folder: its files, and the sorted paths of the folders in it."""
        files: dict[bytes, int] = {}
        folders: list[bytes] = []
        not_recorded = 0
        with opened_folder(_path(path), is_root=is_root) as descriptor:
            self._enter(path, descriptor)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if is_too_long(_join(path, name)):
                        not_recorded += 1
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(_join(path, name))
                    else:
                        files[name] = _state_of(entry)
        return _listing(files, too_long(_path(path), not_recorded) if not_recorded else None), sorted(folders)


def _changes(
    folder: bytes, was: _Listing, now: _Listing, noted: tuple[dict[bytes, int | None], ...]
) -> Iterator[EvidenceFile]:
    if now.trouble and now.trouble != was.trouble:
        yield now.trouble
    if (now.names, now.states) == (was.names, was.states):
        return
    before = was.by_name()
    for name, state in now.by_name().items():
        path = _join(folder, name)
        if before.get(name) != state and all(states.get(path) != state for states in noted):
            yield inspect(_path(path))


def _lost(was: _Listing, now: _Listing) -> set[bytes]:
    return set() if was.names == now.names else was.by_name().keys() - now.by_name().keys()


def _listing(files: dict[bytes, int], trouble: EvidenceFile | None) -> _Listing:
    names = sorted(files)
    return _Listing(_SEPARATOR.join(names), array("q", map(files.__getitem__, names)), trouble)


def _unlisted(path: bytes, error: OSError) -> _Listing:
    return _Listing(trouble=unlisted(_path(path), error), is_listed=False)


def _state_of(entry: os.DirEntry[str]) -> int:
    try:
        facts = entry.stat(follow_symlinks=False)
    except OSError:
        return _state(0, 0, is_regular=True)
    return _state(facts.st_size, facts.st_mtime_ns, is_regular=stat.S_ISREG(facts.st_mode))


def _state(size: int, mtime_ns: int, *, is_regular: bool) -> int:
    return hash((size, mtime_ns, is_regular))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(_SEPARATOR) + _SEPARATOR + name


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _lies_below(path: bytes, others: set[bytes]) -> bool:
    if not others:
        return False
    while path not in others:
        parent = os.path.dirname(path)  # noqa: PTH120  (bytes)
        if parent == path:
            return False
        path = parent
    return True
