"""Which disk of the cluster is full, and how much room it needs before Elasticsearch writes to it again."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["FS_STATS", "scarce_room"]

FS_STATS = "/_nodes/stats/fs"
"""Where Elasticsearch tells of its nodes' disks."""

_GIB = 1 << 30
_UNKNOWN = "A disk of the cluster has no room left"


def scarce_room(stats: Mapping[str, Any]) -> str:
    """Sentence about the disks that have no room left.

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
    return f"{_UNKNOWN}: {'; '.join(full)}. Make room there" if full else f"{_UNKNOWN}. Make room on its data paths"


def _disks(stats: Mapping[str, Any]) -> Iterator[tuple[str, str, int, int]]:
    for node in stats.get("nodes", {}).values():
        for disk in node.get("fs", {}).get("data", []):
            # Blocked at the flood stage, an index is released when its disk is below the high watermark again.
            needed = disk.get("high_watermark_free_space_in_bytes", 0)
            yield node.get("name", "?"), disk.get("path", "?"), disk.get("available_in_bytes", 0), needed
