"""Reading one evidence file: its digests first, and what stands in the way of using it."""

from collections.abc import Callable
from dataclasses import dataclass

from simquery.errors import PictureError
from simquery.indexer.evidence import EvidenceFile
from simquery.pictures.decoding import NotAPictureError
from simquery.pictures.files import CHANGED, EMPTY, Digests, digests_of, has_changed, open_evidence, unread_reason
from simquery.pictures.formats import is_picture_name

__all__ = ["Obstacle", "hash_file", "obstacle"]


@dataclass(frozen=True)
class Obstacle:
    """Why a file was not indexed.

    ``skipped``: it is none of ours (a text file). Otherwise it should have been a picture, and counts as unreadable.
    ``rule``: the option that left it out; a run without that option looks at it again.
    """

    reason: str
    skipped: bool = False
    rule: str | None = None


def hash_file(candidate: EvidenceFile, stopped: Callable[[], bool]) -> Digests | Obstacle:
    """Digests of a candidate's content; given up when ``stopped`` says so, for a disk image takes minutes."""
    if candidate.skipped:
        return Obstacle(candidate.skipped, skipped=True, rule=candidate.rule)
    if candidate.unreadable:
        return Obstacle(candidate.unreadable)
    try:
        with open_evidence(candidate.path) as file:
            digests = digests_of(file, stopped)
            return Obstacle(CHANGED) if has_changed(file, candidate.state) else digests
    except OSError as error:
        return Obstacle(unread_reason(error))


def obstacle(candidate: EvidenceFile, error: PictureError) -> Obstacle:
    """What an error in the content means for one of its paths: text is no loss unless it is named as a picture."""
    if not isinstance(error, NotAPictureError):
        return Obstacle(str(error))
    named_as_picture = is_picture_name(candidate.path)
    if candidate.size == 0:
        return Obstacle(EMPTY, skipped=not named_as_picture)
    return Obstacle(f"{error}, in spite of its name") if named_as_picture else Obstacle(str(error), skipped=True)
