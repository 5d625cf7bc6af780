"""The keyword arguments of a case's methods, and the objects made from them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from simquery.choices import choice

if TYPE_CHECKING:
    from simquery.indexer import Details, Selection
    from simquery.pictures.augmentation import Augmentation
    from simquery.query import Place

__all__ = [
    "FILTERS",
    "IndexOptions",
    "PictureName",
    "QueryOptions",
    "augmentations",
    "details",
    "require_known",
    "selection",
]

PictureName = str | Path
"""A picture file, or the SHA-256 (hex) of a picture of the case."""


class IndexOptions(TypedDict, total=False):
    """Which files of the evidence folders are indexed, and what is stored about them.

    Attributes
    ----------
    include
        Patterns; only files that match one of them are indexed. ``*`` also matches ``/``; case does not matter.
    exclude
        Patterns; files that match one of them are skipped.
    part, parts
        Index only part ``part`` (from 1) of ``parts``, so that several machines can share one folder.
    min_side
        Skip pictures whose width or height is less than this many pixels.
    label_folders
        Label each picture with the name of its folder.
    thumbnails
        Store a small JPEG with each picture.
    record_missing
        Record missing files as gone, even if it looks as if their disk is not mounted.
    large_minutes
        Minutes that hashing all files larger than 1 GiB may take together, by default 10. They come last.
    """

    include: Sequence[str]
    exclude: Sequence[str]
    part: int
    parts: int
    min_side: int
    label_folders: bool
    thumbnails: bool
    record_missing: bool
    large_minutes: float


class QueryOptions(TypedDict, total=False):
    """How pictures are ranked, and which ones.

    Attributes
    ----------
    distance
        Name of a distance (`simquery.distances.DISTANCES`); by default ``cosine``.
    k
        Number of hits, by default 50; None: all. With ``within`` and without ``k``: all hits within that distance.
    combine
        How to combine several references (`simquery.query.Combine`); by default ``sum``.
    rejected
        Pictures that hits should not look like.
    augment
        Variants of the references to search for as well (`simquery.pictures.augmentation.Augmentation`).
    within
        Greatest distance of a hit.
    mode
        ``exact``, ``approximate`` or ``auto`` (the default: exact up to the setting ``exact_up_to``).
    candidates
        Number of candidates that an approximate query takes from the graph for each reference.
    path, since, until, camera, formats, min_size, labels, near, raw
        Filters; see `simquery.query.Filters`.
    """

    distance: str
    k: int | None
    combine: str
    rejected: Sequence[PictureName]
    augment: Collection[str]
    within: float | None
    mode: str
    candidates: int | None
    path: str | None
    since: str | None
    until: str | None
    camera: str | None
    formats: Sequence[str]
    min_size: int | None
    labels: Sequence[str]
    near: "Place | None"
    raw: Mapping[str, Any] | None


FILTERS = ("path", "since", "until", "camera", "formats", "min_size", "labels", "near", "raw")
"""The options of a query that are filters, as `simquery.query.Filters` names them."""


def selection(folders: Sequence[PictureName], options: IndexOptions) -> "Selection":
    """Check the folders, and return which of their files to index."""
    from simquery.indexer import Selection, check_folders

    require_known(options, IndexOptions)
    return Selection(
        check_folders(map(Path, folders)),
        tuple(options.get("include", ())),
        tuple(options.get("exclude", ())),
        options.get("part", 1),
        options.get("parts", 1),
    )


def details(options: IndexOptions) -> "Details":
    """Return what to store besides the embeddings."""
    from simquery.indexer import Details

    return Details(
        thumbnails=options.get("thumbnails", False),
        label_folders=options.get("label_folders", False),
        min_side=options.get("min_side", 0),
        large_minutes=options.get("large_minutes", 10.0),
    )


def augmentations(names: Collection[str]) -> "list[Augmentation]":
    """Look up variants of references by their names."""
    from simquery.pictures.augmentation import Augmentation

    return [choice(Augmentation, name, "variant") for name in names]


def require_known(options: Mapping[str, Any], kind: type) -> None:
    """Refuse an unknown option, as Python refuses an unknown keyword argument."""
    for name in options.keys() - kind.__annotations__.keys():
        raise TypeError(f"There is no option '{name}'. Choose from: {', '.join(kind.__annotations__)}.")
