"""Fourth stage: store documents for the contents, then an entry in the ledger for each file."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from simquery.indexer.contents import Batch, Content, Obstacle
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.failures import explained
from simquery.indexer.images import Images, Occurrence, image_document
from simquery.indexer.ledger import Entry, Ledger, Status
from simquery.indexer.timings import Timings
from simquery.paths import display_path
from simquery.pictures.decoding import NotAPictureError
from simquery.pictures.files import EMPTY
from simquery.pictures.formats import is_picture_name

__all__ = ["Storing", "obstacle_of"]

logger = logging.getLogger(__name__)


class Storing:
    """Store a batch: a picture's document is in Elasticsearch before its entry is in the ledger.

    Parameters
    ----------
    images
        The images index of each model.
    engines
        The engine that computes each model's vectors, if known.
    ledger
        The ledger.
    label_folders
        Whether to label each picture with the name of its folder.
    timings
        Record of the stage's busy time.
    """

    def __init__(
        self,
        images: Mapping[str, Images],
        engines: Mapping[str, str | None],
        ledger: Ledger,
        timings: Timings,
        *,
        label_folders: bool,
    ) -> None:
        self._images = images
        self._engines = engines
        self._ledger = ledger
        self._timings = timings
        self._label_folders = label_folders

    def __call__(self, batch: Batch) -> tuple[list[Entry], int]:
        """Store a batch; return the entries of its files, and how many files were unchanged."""
        count = batch.files + len(batch.obstructed)
        with self._timings.of("write", count), explained(f"storing {count} files"):
            first_paths: dict[str, str] = {}
            for model, images in self._images.items():
                contents = [content for content in batch.contents if model in content.models]
                first_paths = images.store([self._occurrence(content, model) for content in contents]) | first_paths
            entries = [
                _obstructed(sighting.file, obstacle).following(sighting.previous)
                for sighting, obstacle in batch.obstructed
            ]
            for content in batch.contents:
                entries += _entries(content, first_paths.get(content.sha256))
            self._ledger.record(entries)
        logger.debug("stored %d entries", len(entries))
        return entries, batch.unchanged

    def _occurrence(self, content: Content, model: str) -> Occurrence:
        files = [sighting.file for sighting in content.sightings]
        labels: dict[str, None] = {}
        if self._label_folders:
            labels = dict.fromkeys(display_path(Path(file.path.parent.name)) for file in files)
        document = None
        vector = content.vectors.get(model)
        if vector is not None and content.fields is not None:
            engine = self._engines[model]
            document = image_document(content.digests, content.source, content.fields, vector, engine)
        return Occurrence(content.sha256, [display_path(file.path) for file in files], list(labels), document)


def obstacle_of(content: Content, file: EvidenceFile) -> Obstacle:
    """Return why no model has a vector of a content, for one of the files that hold it."""
    if content.left_out:
        return Obstacle(f"left out by {content.left_out}", skipped=True, rule=content.left_out)
    if content.problem is None:
        return Obstacle(", ".join(f"model '{model}' {problem}" for model, problem in sorted(content.refusals.items())))
    if not isinstance(content.problem, NotAPictureError):
        return Obstacle(str(content.problem))
    named_as_picture = is_picture_name(file.path)
    if file.size == 0:
        return Obstacle(EMPTY, skipped=not named_as_picture)
    if named_as_picture:
        return Obstacle(f"{content.problem}, in spite of its name")
    return Obstacle(str(content.problem), skipped=True)  # a text file is of no interest


def _entries(content: Content, first_path: str | None) -> Iterator[Entry]:
    refused_by = tuple(sorted(content.refusals))
    models = tuple(sorted(content.models))
    for sighting in content.sightings:
        file = sighting.file
        if models:
            status = Status.INDEXED if display_path(file.path) == first_path else Status.DUPLICATE
            entry = Entry(file, status, content.sha256, models=models, refused_by=refused_by)
        else:
            entry = _obstructed(file, obstacle_of(content, file), content.sha256, refused_by)
        yield entry.following(sighting.previous)


def _obstructed(
    file: EvidenceFile, obstacle: Obstacle, sha256: str | None = None, refused_by: tuple[str, ...] = ()
) -> Entry:
    status = Status.SKIPPED if obstacle.skipped else Status.UNREADABLE
    return Entry(file, status, sha256, obstacle.reason, refused_by=refused_by, rule=obstacle.rule)
