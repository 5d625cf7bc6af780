"""What a run knows of the files it is working on: one record for each content, filled in by one stage after another."""

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
        For the ledger.
    skipped
        Whether the file is of no interest (a text file). Otherwise it should be a picture, and counts as unreadable.
    rule
        The option that left it out; a run without that option looks at the file again.
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
    """One content, and everything that the run finds out about it.

    Attributes
    ----------
    digests, sightings
        From hashing: what identifies the content, and the files that hold it, in the order in which they were found.
        Decoding takes out files that it cannot read.
    models
        The models that have a vector of it: known ones from decoding, new ones from embedding.
    row
        From decoding: its place in the batch's pixels.
    fields
        From decoding: fields of its document; None where it was not decoded.
    problem
        From decoding: why it cannot be decoded.
    left_out
        From embedding: the option that leaves it out.
    vectors
        From embedding: float32 (dims,), by model.
    refusals
        From embedding: what is wrong with the vectors of the models that cannot use it, by model.
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
        """The file that it is decoded from."""
        return self.sightings[0].file


@dataclass(eq=False)
class Batch:
    """Files that go through the stages together.

    Attributes
    ----------
    unchanged
        How many files needed no second look.
    obstructed
        Files that could not be read, and why.
    contents
        What the other files hold.
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
        """How many files could be read."""
        return sum(len(content.sightings) for content in self.contents)
