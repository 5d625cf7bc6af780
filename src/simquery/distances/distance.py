"""What a distance is: its NumPy form and its Elasticsearch form, side by side."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distance", "Similarity", "Vectors", "pairwise"]

Similarity = Literal["cosine", "l2_norm"]
"""What a graph over the vectors compares by."""

Metric = Literal["cityblock", "cosine", "euclidean", "sqeuclidean"]

Vectors = NDArray[np.floating]
"""Feature vectors, one a row: shape (m, n), any floating dtype."""


class Distance(ABC):
    """How far two feature vectors are apart: 0 for equal vectors, never negative, finite for finite non-zero vectors.

    A distance is defined twice, and the tests hold both forms against each other on the same vectors:

    * `between` is the reference form, in float64.
    * `call` is a Painless expression for reference number ``i``. It may use ``l2norm`` and ``l1norm`` on
      ``params.q<i>``, the reference's ``params.norm<i>`` and ``params.sum<i>``, the document's ``norm`` and ``sum``,
      and ``params.dims``. A vector function binds its reference once per place in the script, so there is one call per
      reference, never a loop. What `call` needs as a Painless function goes into `functions`.

    ``graph`` says by which similarity a graph finds the best candidates for this distance.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    graph: ClassVar[Similarity] = "cosine"
    functions: ClassVar[str] = ""

    @abstractmethod
    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Distances of every reference to every document.

        Parameters
        ----------
        references : (m, n)
        documents : (k, n)

        Returns
        -------
        float64, shape (m, k)
        """

    @abstractmethod
    def call(self, i: int) -> str:
        """Painless expression for the distance of the document to reference ``i``."""


def pairwise(references: Vectors, documents: Vectors, metric: Metric) -> NDArray[np.float64]:
    """SciPy's distance of every reference to every document in float64, shape (m, k); never negative."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415  (a fifth of a second that a query has no use for)

    return np.maximum(cdist(references.astype(np.float64), documents.astype(np.float64), metric), 0.0)
