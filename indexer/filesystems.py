"""The filesystems of an evidence folder, which tell an unmounted disk from deleted files."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["away", "filesystems", "lies_below"]

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def filesystems(folder: Path) -> dict[Path, str]:
    """Return the filesystem of a folder, and those mounted below it.

    Parameters
    ----------
    folder
        Absolute path.

    Returns
    -------
    dict of Path to str
        A text that identifies each filesystem, by the path where it begins: the folder itself, or a mount point below
        it. Empty on systems other than Linux.
    """
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return {}
    real = Path(os.path.realpath(folder))
    found: dict[Path, str] = {}
    nearest = Path("/")
    for line in lines:  # a mount that hides another one comes later
        fields, _, (kind, source, *_) = _parts(line)
        point = Path(os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4])))
        if point == real or point in real.parents:
            if len(point.parts) >= len(nearest.parts):
                nearest = point
                found[folder] = _identity(point, kind, source, fields[3])
        elif real in point.parents:
            found[folder / point.relative_to(real)] = _identity(point, kind, source, fields[3])
    return found


def away(expected: Mapping[Path, str], present: Mapping[Path, str]) -> list[Path]:
    """Return the paths at which the expected filesystem is not mounted now."""
    return [point for point, identity in expected.items() if present.get(point) != identity]


def lies_below(path: Path, points: Iterable[Path]) -> bool:
    """Return whether a path is one of the given points, or is below one."""
    return any(point == path or point in path.parents for point in points)


def _parts(line: bytes) -> tuple[list[bytes], bytes, list[str]]:
    mount, separator, filesystem = line.partition(b" - ")
    return mount.split(b" "), separator, os.fsdecode(filesystem).split(" ")


def _identity(point: Path, kind: str, source: str, root: bytes) -> str:
    """Identify a filesystem by its own number if it has one, otherwise by its source."""
    try:
        number = os.statvfs(point).f_fsid
    except OSError:
        number = 0
    return f"{kind} {number:x} {os.fsdecode(root)}" if number else f"{kind} {source} {os.fsdecode(root)}"
