"""Which disk of the cluster is full, and how much room it needs before Elasticsearch writes to it again."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["FS_STATS", "NO_ROOM", "scarce_room"]

FS_STATS = "/_nodes/stats/fs"
"""Where Elasticsearch tells of its nodes' disks."""

NO_ROOM = "A disk of the cluster has no room left"

_MIB = 1 << 20
_GIB = 1 << 30
_LEAST = 64 * _MIB
"""Below this a disk counts as full even where Elasticsearch's own thresholds are off."""


def scarce_room(stats: Mapping[str, Any]) -> str | None:
    """Sentence about the disks that have no room left; None where all have some.

    Parameters
    ----------
    stats
        Answer to `FS_STATS`; empty where the credentials may not ask.
    """
    full = [
        f"{path} of node '{node}' has {free / _GIB:.2f} GiB free and needs more than {needed / _GIB:.2f} GiB"
        for node, path, free, needed in _disks(stats)
        if free <= needed
    ]
    return f"{NO_ROOM}: {'; '.join(full)}. Make room there" if full else None


def _disks(stats: Mapping[str, Any]) -> Iterator[tuple[str, str, int, int]]:
    for node in stats.get("nodes", {}).values():
        for disk in node.get("fs", {}).get("data", []):
            # Elasticsearch blocks an index at the flood stage, and frees it below the high watermark.
            needed = max(disk.get("high_watermark_free_space_in_bytes", 0), _LEAST)
            yield node.get("name", "?"), disk.get("path", "?"), disk.get("available_in_bytes", 0), needed
