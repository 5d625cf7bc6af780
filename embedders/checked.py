"""Embedders from code that is not simquery's: their answers are checked before anybody stores them."""

import numpy as np

from simquery.embedders.embedder import Embedder, Features, Pixels
from simquery.errors import EmbedderError

__all__ = ["CheckedEmbedder"]


class CheckedEmbedder:
    """An `Embedder` that gives what another one gives, or an error that names the model.

    Parameters
    ----------
    embedder
        The other one. A vector that is NaN, infinite, zero or too long passes: `is_usable` refuses it for its picture.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dims = embedder.dims
        self.input_size = embedder.input_size
        self.fingerprint = embedder.fingerprint
        self.inference: str | None = getattr(embedder, "inference", None)

    def embed(self, batch: Pixels) -> Features:
        """Feature vectors of a batch of pictures, in their order.

        Raises
        ------
        EmbedderError
            When the model fails, or gives an array of another shape than (pictures, dims).
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                features = np.asarray(self._embedder.embed(batch)).astype(np.float32)
        except Exception as error:  # somebody else's code: whatever it raises concerns this model alone
            raise EmbedderError(f"Model '{self.name}' fails: {type(error).__name__}: {error}") from error
        if features.shape != (len(batch), self.dims):
            raise EmbedderError(
                f"Model '{self.name}' gives features of shape {features.shape} for {len(batch)} pictures, and not"
                f" {self.dims} for each, as it says."
            )
        return features
