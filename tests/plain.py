"""Trivial networks without TensorFlow, for tests of everything around a network."""

import numpy as np

from simquery.embedders import Features, Pixels


class Mean:
    """Embeds a picture as its mean colour, brightened so that the vector is never zero."""

    name = "mean"
    dims = 3
    input_size = (8, 8)
    fingerprint = "3" * 64

    def embed(self, batch: Pixels) -> Features:
        return (batch.mean(axis=(1, 2)) + 1).astype(np.float32)


class Wide(Mean):
    """The same with a larger input."""

    name = "wide"
    input_size = (400, 300)
    fingerprint = "4" * 64
