"""Full disks of the cluster, and how much room each needs before Elasticsearch writes to it again."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["FS_STATS", "NO_ROOM", "scarce_room"]

FS_STATS = "/_nodes/stats/fs"
"""Elasticsearch's API for the disks of its nodes."""

NO_ROOM = "A disk of the cluster has no room left"

_MIB = 1 << 20
_GIB = 1 << 30
_LEAST = 64 * _MIB
"""Bytes; a disk with less free space counts as full even if Elasticsearch's own thresholds are off."""


def scarce_room(stats: Mapping[str, Any]) -> str | None:
    """Return a sentence about the disks that have no room left, or None if all have some.

    Parameters
    ----------
    stats
        Answer to `FS_STATS`; empty if the credentials do not allow that request.
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
            # Elasticsearch blocks an index at the flood stage, and unblocks it below the high watermark.
            needed = max(disk.get("high_watermark_free_space_in_bytes", 0), _LEAST)
            yield node.get("name", "?"), disk.get("path", "?"), disk.get("available_in_bytes", 0), needed
