"""Data sets of classes: which picture belongs to which class, which files are left out, and why.

A data set is a folder with one folder for each class, or a CSV file with the columns ``path`` and ``class`` (paths are
relative to the file's folder). A picture is its content, as in a case: the same content at two paths is one picture.
A picture in two classes belongs to both and is reported, because it distorts the measures.
"""

import csv
import dataclasses
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simquery.errors import DatasetError
from simquery.indexer import check_folder, scan
from simquery.paths import display_path
from simquery.pictures.files import EMPTY, open_evidence, sha256_of, unread_reason

__all__ = ["Dataset", "LabelledPicture", "Omission", "read_dataset"]

_LEAST_CLASSES = 2


@dataclass(frozen=True)
class LabelledPicture:
    """A picture: its SHA-256 (hex), one of its files, all its paths in the data set, and all its classes."""

    sha256: str
    file: Path
    paths: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Omission:
    """A path that is left out of the evaluation, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """A data set: pictures in the order of their SHA-256, which breaks ties, and their classes.

    Attributes
    ----------
    name
        Name of the folder or file from which it was read.
    pictures
        The pictures, each content once.
    distractors
        Classes from which no references are drawn, like "others" in FIRE (thesis, section 3.2.4).
    omissions
        Paths that were left out.
    """

    name: str
    pictures: tuple[LabelledPicture, ...]
    distractors: frozenset[str] = frozenset()
    omissions: tuple[Omission, ...] = ()

    @cached_property
    def members(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the pictures of each class, in ascending order, by the name of the class."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, picture in enumerate(self.pictures):
            for label in picture.labels:
                rows[label].append(row)
        return {label: np.array(rows[label], dtype=np.int64) for label in sorted(rows)}

    @cached_property
    def shared(self) -> tuple[LabelledPicture, ...]:
        """Pictures that belong to several classes, that is duplicates across classes."""
        return tuple(picture for picture in self.pictures if len(picture.labels) > 1)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything in it that measures depend on: contents, classes, distractors."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update("\0".join([picture.sha256, *picture.labels, "\n"]).encode())
        digest.update("\0".join(sorted(self.distractors)).encode())
        return digest.hexdigest()

    def without(self, reasons: Mapping[str, str]) -> "Dataset":
        """Leave out pictures by their SHA-256, each with its reason."""
        omitted = [
            Omission(path, reasons[picture.sha256])
            for picture in self.pictures
            if picture.sha256 in reasons
            for path in picture.paths
        ]
        kept = tuple(picture for picture in self.pictures if picture.sha256 not in reasons)
        return dataclasses.replace(
            self, pictures=kept, omissions=tuple(sorted({*self.omissions, *omitted}, key=lambda each: each.path))
        )

    def checked(self) -> "Dataset":
        """Return the data set itself if measures can be computed from it.

        Raises
        ------
        DatasetError
            When there are fewer than two classes, no class with two pictures, or no class with a distractor's name.
        """
        unknown = sorted(self.distractors - set(self.members))
        if unknown:
            raise DatasetError(
                f"'{self.name}' has no class '{unknown[0]}'. Its classes are: {', '.join(self.members)}."
            )
        if len(self.members) < _LEAST_CLASSES:
            raise DatasetError(
                f"'{self.name}' has pictures of {len(self.members)} class(es), but at least two are needed: every"
                " ranking of pictures of a single class is perfect."
            )
        if not any(len(rows) > 1 for label, rows in self.members.items() if label not in self.distractors):
            raise DatasetError(f"No class of '{self.name}' has two pictures: one as the reference and one to be found.")
        return self


def read_dataset(
    path: Path, distractors: Collection[str] = (), progress: Callable[[int], None] = lambda _: None
) -> Dataset:
    """Read and hash a data set; files that are not pictures are detected later, when they are embedded.

    Parameters
    ----------
    path
        A folder with one folder for each class, or a CSV file.
    distractors
        Names of classes from which no references are drawn.
    progress
        Called with the number of files read so far.

    Raises
    ------
    FolderError
        When the folder cannot be read.
    DatasetError
        When the CSV file is not valid, or there is nothing to evaluate.
    """
    entries = _csv_entries(path) if path.is_file() else _folder_entries(check_folder(path))
    found: defaultdict[str, dict[str, tuple[Path, str]]] = defaultdict(dict)
    labels: defaultdict[str, set[str]] = defaultdict(set)
    omissions = []
    for count, entry in enumerate(entries, start=1):
        progress(count)
        if isinstance(entry, Omission):
            omissions.append(entry)
            continue
        file, shown, label = entry
        try:
            with open_evidence(file) as opened:
                size, content = os.fstat(opened.fileno()).st_size, sha256_of(opened)
        except OSError as error:
            omissions.append(Omission(shown, unread_reason(error)))
            continue
        if not size:
            omissions.append(Omission(shown, EMPTY))
            continue
        found[content][shown] = (file, label)
        labels[content].add(label)
    pictures = tuple(
        LabelledPicture(
            content, found[content][min(found[content])][0], tuple(sorted(found[content])), tuple(sorted(named))
        )
        for content, named in sorted(labels.items())
    )
    if not pictures:
        why = f" The first of {len(omissions)}: {omissions[0].path}: {omissions[0].reason}." if omissions else ""
        raise DatasetError(f"'{display_path(path)}' contains no readable file in a class.{why}")
    name = display_path(Path(path.absolute().name))
    return Dataset(name, pictures, frozenset(distractors), tuple(sorted(omissions, key=lambda each: each.path)))


_Entry = tuple[Path, str, str]


def _folder_entries(root: Path) -> Iterator[_Entry | Omission]:
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    filled = set()
    for candidate in scan(root):
        inside = candidate.path.relative_to(root)
        shown = display_path(inside)
        if candidate.skipped or candidate.unreadable:
            yield Omission(shown, candidate.skipped or candidate.unreadable or "")
        elif len(inside.parts) == 1:
            yield Omission(shown, "not in a class folder")
        else:
            filled.add(inside.parts[0])
            yield candidate.path, shown, display_path(Path(inside.parts[0]))
    yield from (Omission(display_path(Path(name)), "an empty class") for name in classes if name not in filled)


def _csv_entries(file: Path) -> Iterator[_Entry | Omission]:
    name = display_path(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            if not {"path", "class"} <= set(reader.fieldnames or ()):
                raise DatasetError(f"'{name}' has no header with the columns path and class.")
            for row in reader:
                path, label = (row["path"] or "").strip(), (row["class"] or "").strip()
                picture = file.parent / path
                if not path or not label:
                    yield Omission(path or f"line {reader.line_num}", "has no class" if path else "has no path")
                elif not picture.exists():
                    yield Omission(path, "there is no such file")
                elif not picture.is_file():
                    yield Omission(path, "not a regular file")
                else:
                    yield picture, display_path(Path(path)), label
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"'{name}' cannot be read as CSV in UTF-8: {error}.") from None
