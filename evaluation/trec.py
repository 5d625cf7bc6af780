"""Run files in the TREC format, so that other tools can judge simquery's rankings and simquery can judge theirs.

A line is ``reference Q0 picture rank score tag``. simquery names references and pictures by their SHA-256, the tag is
``model/distance``, and the score is the negative distance; a file whose name ends in ``.gz`` is compressed. Files of
other tools may name pictures by their paths in the data set instead, with ``%20`` for spaces.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import numpy as np

from simquery.errors import DatasetError
from simquery.evaluation.dataset import Dataset
from simquery.evaluation.harness import Condition, Ranked
from simquery.evaluation.topics import Topic
from simquery.paths import display_path
from simquery.query.formats import trec_line

__all__ = ["RunWriter", "read_run"]

_FIELDS = 6


class RunWriter:
    """Write the rankings of single references to a new file; a context manager.

    Raises
    ------
    OSError
        When the file exists or cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file: IO[str] = _opened(file, "x")
        self._names: list[str] = []

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is not None:
            self._path.unlink()  # an incomplete run could be taken for a complete one

    def write(self, dataset: Dataset, ranked: Ranked) -> None:
        """Write one ranking, if its condition has a single, unchanged reference."""
        if not ranked.condition.single:
            return
        self._names = self._names or [picture.sha256 for picture in dataset.pictures]
        reference = self._names[ranked.query.reference]
        tag = f"{ranked.condition.model}/{ranked.condition.distance}"
        pairs = zip(ranked.order.tolist(), ranked.distances.tolist(), strict=True)
        self._file.writelines(
            f"{trec_line(reference, self._names[row], rank, distance, tag)}\n"
            for rank, (row, distance) in enumerate(pairs, start=1)
        )


def read_run(file: Path, dataset: Dataset) -> Iterator[Ranked]:
    """Read rankings, ordered by descending score, then by rank, then by picture.

    Pictures may be missing from a ranking. A reference among its own hits is left out.

    Raises
    ------
    DatasetError
        When a line is invalid, does not name a picture of the data set, or has a reference that belongs to several
        classes or is the only picture of its class.
    """
    rows = {picture.sha256: row for row, picture in enumerate(dataset.pictures)}
    rows |= {path: row for row, picture in enumerate(dataset.pictures) for path in picture.paths}
    found: dict[tuple[str, int], dict[int, tuple[float, int]]] = {}
    name = display_path(file)
    try:
        with _opened(file, "r") as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.split()
                if not fields:
                    continue
                if len(fields) != _FIELDS:
                    raise DatasetError(f"'{name}', line {number}: {len(fields)} fields instead of {_FIELDS}.")
                if not all(field.isprintable() for field in fields):
                    raise DatasetError(f"'{name}', line {number}: it contains unprintable characters.")
                reference, _, picture, rank, score, tag = fields
                query, hit = (_row(rows, text, name, number) for text in (reference, picture))
                if hit in found.setdefault((tag, query), {}):
                    raise DatasetError(f"'{name}', line {number}: '{picture}' is already in this ranking.")
                found[tag, query][hit] = (-float(score), int(rank))
    except (ValueError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise DatasetError(f"'{name}' is not a TREC run: {error}.") from None
    if not found:
        raise DatasetError(f"'{name}' contains no ranking.")
    for (tag, row), hits in found.items():
        labels = dataset.pictures[row].labels
        if len(labels) > 1:
            raise DatasetError(f"'{name}': the reference {dataset.pictures[row].paths[0]} belongs to several classes.")
        if len(dataset.members[labels[0]]) == 1:
            raise DatasetError(
                f"'{name}': the reference {dataset.pictures[row].paths[0]} is the only picture of its class."
            )
        order = [hit for _, _, hit in sorted((*place, hit) for hit, place in hits.items() if hit != row)]
        model, _, distance = tag.partition("/")
        yield Ranked(
            Condition(model, distance),
            Topic(labels[0], row),
            np.array(order, dtype=np.int64),
            np.array([hits[hit][0] for hit in order], dtype=np.float32),
        )


def _row(rows: dict[str, int], text: str, name: str, number: int) -> int:
    row = rows.get(text, rows.get(unquote(text), -1))
    if row < 0:
        raise DatasetError(f"'{name}', line {number}: '{text}' is not a picture of the data set.")
    return row


def _opened(file: Path, mode: str) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, f"{mode}t", encoding="utf-8")  # type: ignore[return-value]
    return file.open(mode, encoding="utf-8")
