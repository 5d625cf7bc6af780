"""A ranking as a table for people."""

from rich import box
from rich.table import Table
from rich.text import Text

from simquery.query.ranking import Ranking

__all__ = ["ranking_table"]


def ranking_table(ranking: Ranking) -> Table:
    """Rank, distance and first path of each hit; further paths with the same content are counted."""
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=(
            f"{len(ranking.hits)} of {ranking.collection_size:,} pictures · case {ranking.case} · {ranking.model} ·"
            f" {ranking.distance}, {ranking.mode} · {ranking.took_ms} ms"
        ),
        caption_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("path", overflow="fold")
    for hit in ranking.hits:
        more = f"  (+{len(hit.paths) - 1} more)" if len(hit.paths) > 1 else ""
        table.add_row(str(hit.rank), f"{hit.distance:.6g}", Text(hit.paths[0] + more))
    return table
