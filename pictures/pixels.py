"""Decoded pictures as arrays."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pixels"]

Pixels = NDArray[np.uint8]
"""RGB pictures at a network's input size, values 0-255: shape (n, height, width, 3), or (height, width, 3) for one."""
