"""What a run knows about the files in a batch: one record for each content, filled in by one stage after another."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simquery.errors import PictureError
from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.ledger import Entry
from simquery.pictures.files import Digests
from simquery.pictures.pixels import Pixels

__all__ = ["Batch", "Content", "Obstacle", "Sighting"]


@dataclass(frozen=True)
class Obstacle:
    """Why a file was not indexed.

    Attributes
    ----------
    reason
        Reason, as the ledger states it.
    skipped
        Whether the file is of no interest (a text file). Otherwise it should be a picture, and counts as unreadable.
    rule
        The option that leaves it out; a run without that option looks at the file again.
    """

    reason: str
    skipped: bool = False
    rule: str | None = None


@dataclass(frozen=True)
class Sighting:
    """A file that the run looks at, and the ledger's entry for its path from an earlier run."""

    file: EvidenceFile
    previous: Entry | None = None


@dataclass(eq=False)
class Content:
    """One content, and everything that a run finds out about it.

    Attributes
    ----------
    digests, sightings
        Set by hashing: the digests of the content, and the files that hold it, in the order in which they were found.
        Decoding removes files that it cannot read.
    models
        The models that have a vector of it: decoding adds those of earlier runs, embedding those of this run.
    row
        Set by decoding: its row in the batch's pixels.
    fields
        Set by decoding: the fields of its document; None if it was not decoded.
    problem
        Set by decoding: why it cannot be decoded.
    left_out
        Set by embedding: the option that leaves it out.
    vectors
        Set by embedding: float32 (dims,), by model.
    refusals
        Set by embedding: by model, why its vector cannot be used.
    """

    digests: Digests
    sightings: list[Sighting] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    row: int = -1
    fields: dict[str, Any] | None = None
    problem: PictureError | None = None
    left_out: str | None = None
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """The content's identity, in hex."""
        return self.digests.sha256

    @property
    def source(self) -> EvidenceFile:
        """The file from which the content is decoded."""
        return self.sightings[0].file


@dataclass(eq=False)
class Batch:
    """Files that go through the stages together.

    Attributes
    ----------
    unchanged
        Number of files that did not need another look.
    obstructed
        Files that could not be read, and why.
    contents
        The contents of the other files.
    pixels
        All decoded pictures, one array for each input size. One large array goes back to the system when it is no
        longer needed; many small ones would leave gaps in memory.
    """

    unchanged: int = 0
    obstructed: list[tuple[Sighting, Obstacle]] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of files that could be read."""
        return sum(len(content.sightings) for content in self.contents)
