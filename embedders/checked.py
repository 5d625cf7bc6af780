"""Checks for embedders from third-party code: their vectors are checked before they are used."""

import numpy as np

from simquery.embedders.embedder import Embedder, Features, Pixels
from simquery.errors import EmbedderError

__all__ = ["CheckedEmbedder"]


class CheckedEmbedder:
    """An `Embedder` that returns the vectors of another one, or raises an error that names the model.

    Parameters
    ----------
    embedder
        The other one. Vectors that are NaN, infinite, zero or too long pass: `is_usable` refuses them picture by
        picture.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dims = embedder.dims
        self.input_size = embedder.input_size
        self.fingerprint = embedder.fingerprint
        self.inference: str | None = getattr(embedder, "inference", None)

    def embed(self, batch: Pixels) -> Features:
        """Return the feature vectors of a batch of pictures, in the same order.

        Raises
        ------
        EmbedderError
            When the model fails, or returns an array whose shape is not (pictures, dims).
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                features = np.asarray(self._embedder.embed(batch)).astype(np.float32)
        except Exception as error:  # third-party code may raise anything; it concerns this model alone
            raise EmbedderError(f"Model '{self.name}' fails: {type(error).__name__}: {error}") from error
        if features.shape != (len(batch), self.dims):
            raise EmbedderError(
                f"Model '{self.name}' returns features of shape {features.shape} for {len(batch)} pictures instead of"
                f" {self.dims} features per picture, as it declares."
            )
        return features
