"""Reproducible draw of references: the same data set and seed give the same references."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simquery.errors import DatasetError
from simquery.evaluation.dataset import Dataset

__all__ = ["Topic", "draw_topics"]


@dataclass(frozen=True)
class Topic:
    """A reference, and further references of its class.

    Attributes
    ----------
    label
        The class to find.
    reference
        Row of the reference in the data set.
    companions
        Rows of further references of the class; empty if the class is too small to leave a picture to find.
    """

    label: str
    reference: int
    companions: tuple[int, ...] = ()

    def left_out(self, references: int) -> NDArray[np.int64]:
        """Return the rows that are left out of the ranking.

        In experiments with several references, all companions are left out, whether a query combines one reference or
        five, so that all rankings have the same pictures to find.
        """
        return np.array([self.reference, *(self.companions if references else ())], dtype=np.int64)


def draw_topics(dataset: Dataset, count: int, seed: int, several: int = 1) -> tuple[Topic, ...]:
    """Draw ``count`` references: one from each class, then a second from each, and so on, until there are enough.

    The shuffle of a class depends on the seed and the name of the class only, so other classes do not change it. If
    some classes have to give one reference more than others, the seed decides which. No references come from
    distractor classes, from classes of one picture (nothing would be left to find), and from pictures in several
    classes (it would be unclear what to find).

    Parameters
    ----------
    dataset
        The pictures.
    count
        Largest number of references to draw.
    seed
        Random seed.
    several
        Largest number of references that one query combines.

    Returns
    -------
    tuple of Topic
        Ordered by class name, then in the order drawn.
    """
    shared = {row for row, picture in enumerate(dataset.pictures) if len(picture.labels) > 1}
    drawn: dict[str, list[int]] = {}
    for label, rows in dataset.members.items():
        own = [int(row) for row in rows if row not in shared]
        if label not in dataset.distractors and own and len(rows) > 1:
            drawn[label] = [own[i] for i in _random(seed, label).permutation(len(own))]
    if not drawn:
        raise DatasetError(
            f"No class of '{dataset.name}' has a picture that belongs to it alone, for use as a reference."
        )
    labels = [list(drawn)[i] for i in _random(seed, "").permutation(len(drawn))]
    rounds = max(len(rows) for rows in drawn.values())
    places = [(label, turn) for turn in range(rounds) for label in labels if turn < len(drawn[label])][:count]
    return tuple(
        Topic(label, drawn[label][turn], _companions(drawn[label], turn, several, len(dataset.members[label])))
        for label, turn in sorted(places)
    )


def _companions(rows: list[int], turn: int, several: int, members: int) -> tuple[int, ...]:
    if several <= 1 or len(rows) < several or members <= several:
        return ()
    return tuple(rows[(turn + step) % len(rows)] for step in range(1, several))


def _random(seed: int, label: str) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(label.encode()).digest()[:8])])
