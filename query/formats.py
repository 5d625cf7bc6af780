"""Output formats of a ranking: a table for people, and formats for other programs."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from simquery.query.ranking import Hit, Query, Ranking
from simquery.query.requests import FACTS
from simquery.tabular import safe_cell

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "csv_lines", "json_lines", "ranking_table", "trec_line", "trec_lines"]


def ranking_table(ranking: Ranking) -> "Table":
    """Make a table with rank, distance and first path of each hit, and the number of further paths."""
    from rich import box  # noqa: PLC0415  (other formats need no table)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, caption=_caption(ranking), caption_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("path", overflow="fold")
    for hit in ranking.hits:
        at_least = "at least " if hit.paths_full else ""
        more = f"  (+{at_least}{len(hit.paths) - 1:,} more)" if len(hit.paths) > 1 else ""
        table.add_row(str(hit.rank), f"{hit.distance:.6g}", Text(hit.paths[0] + more))
    return table


def json_lines(query: Query, hits: Iterable[Hit]) -> Iterator[str]:  # noqa: ARG001
    """Yield one JSON object for each hit."""
    return (json.dumps(hit.as_dict()) for hit in hits)


def csv_lines(query: Query, hits: Iterable[Hit]) -> Iterator[str]:  # noqa: ARG001
    """Yield a header, and one row for each path of each hit (RFC 4180).

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    yield _row(["rank", "distance", "sha256", "path", "paths_full", *FACTS])
    for hit in hits:
        facts = [_cell(hit.facts.get(name)) for name in FACTS]
        full = str(hit.paths_full).lower()
        for path in hit.paths:
            yield _row([hit.rank, repr(hit.distance), hit.sha256, safe_cell(path), full, *facts])


def trec_lines(query: Query, hits: Iterable[Hit]) -> Iterator[str]:
    """Yield a TREC run: topic, Q0, document, rank, score, tag.

    The topic is the SHA-256 of the reference, or several joined by ``+``; the score is the negative distance.
    """
    topic = "+".join(reference.sha256 for reference in query.references)
    for hit in hits:
        yield trec_line(topic, hit.sha256, hit.rank, hit.distance, f"simquery-{query.distance.name}")


def trec_line(topic: str, document: str, rank: int, distance: float, tag: str) -> str:
    """Return a line of a TREC run; the score is the negative distance."""
    return f"{topic} Q0 {document} {rank} {-distance!r} {tag}"


FORMATS: dict[str, Callable[[Query, Iterable[Hit]], Iterator[str]]] = {
    "jsonl": json_lines,
    "csv": csv_lines,
    "trec": trec_lines,
}
"""The formats that are written line by line, as hits come in."""


def _caption(ranking: Ranking) -> str:
    of = f"{ranking.collection_size:,} pictures"
    if ranking.matched is not None and ranking.matched < ranking.collection_size:
        of = f"{ranking.matched:,} that match, of {of}"
    mode = f"{ranking.mode}, {ranking.candidates:,} candidates" if ranking.candidates else str(ranking.mode)
    warning = f"\n{ranking.warning}" if ranking.warning else ""
    return (
        f"{len(ranking.hits):,} of {of} · case {ranking.case} · {ranking.model} · {ranking.distance}, {mode} ·"
        f" {ranking.took_ms} ms{warning}"
    )


def _row(cells: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> object:
    if isinstance(value, list):
        return safe_cell(";".join(str(item) for item in value))
    if isinstance(value, dict):
        return ",".join(str(value[axis]) for axis in ("lat", "lon"))
    return safe_cell(value)
