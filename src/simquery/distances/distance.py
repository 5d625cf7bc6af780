"""Base class of distances: each has a NumPy form and an Elasticsearch form."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distance", "Similarity", "Vectors", "pairwise"]

Similarity = Literal["cosine", "l2_norm"]
"""Similarity by which a graph over the vectors compares them."""

Metric = Literal["cityblock", "cosine", "euclidean", "sqeuclidean"]

Vectors = NDArray[np.floating]
"""Feature vectors, one per row: shape (m, n), any floating dtype."""


class Distance(ABC):
    """Distance between two feature vectors: 0 if they are equal, never negative, finite for finite non-zero vectors.

    A distance is defined twice, and the tests compare both forms on the same vectors:

    * `between` is the reference form, in float64.
    * `call` is a Painless expression for reference number ``i``. It may use ``l2norm`` and ``l1norm`` on
      ``params.q<i>``, the reference's ``params.norm<i>`` and ``params.sum<i>``, the document's ``norm`` and ``sum``,
      and ``params.dims``. A vector function binds its reference once per place in the script, so there is one call per
      reference, never a loop. `functions` holds the Painless functions that `call` uses.

    ``graph`` names the similarity of the graph that finds the best candidates for this distance.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    graph: ClassVar[Similarity] = "cosine"
    functions: ClassVar[str] = ""

    @abstractmethod
    def between(self, references: Vectors, documents: Vectors) -> NDArray[np.float64]:
        """Return the distance of every reference to every document.

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
        """Return the Painless expression for the distance of the document to reference ``i``."""


def pairwise(references: Vectors, documents: Vectors, metric: Metric) -> NDArray[np.float64]:
    """Return SciPy's distance of every reference to every document, float64 (m, k), never negative."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415  (takes a fifth of a second, and queries do not need it)

    return np.maximum(cdist(references.astype(np.float64), documents.astype(np.float64), metric), 0.0)
