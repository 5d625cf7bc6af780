"""Decoded pictures as arrays."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pixels"]

Pixels = NDArray[np.uint8]
"""RGB pictures at a network's input size: shape (n, height, width, 3), or one of them without n; values 0-255."""
