"""Augmentation: variants of a picture, such as mirrored or rotated ones (thesis, section 6.1)."""

import io
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import numpy as np
from PIL import Image

from simquery.pictures.pixels import Pixels

__all__ = ["AUGMENTATIONS", "Augmentation", "resized", "variants"]

_CROP = 0.15
"""Share of a side that the crop removes at each end; about half of the picture remains."""

_QUALITY = 20


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Scale a picture to (height, width) as decoding does: bilinear, without keeping the aspect ratio."""
    if pixels.shape[:2] == size:
        return pixels
    height, width = size
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def _cropped(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    top, left = int(height * _CROP), int(width * _CROP)
    return pixels[top : height - top, left : width - left]


def _recompressed(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return np.asarray(Image.open(buffer, formats=["JPEG"]))  # our own encoding, not evidence


AUGMENTATIONS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "rotated": np.rot90,
    "flipped": lambda pixels: pixels[:, ::-1],
    "grey": _grey,
    "cropped": _cropped,
    "recompressed": _recompressed,
}
"""The augmentations by name: rotated by 90° anticlockwise; mirrored left to right; luminance only; 15 % cut off each
side; saved as JPEG of quality 20. Each takes and returns uint8 (height, width, 3); the size may change."""


class Augmentation(StrEnum):
    """Changes to a picture that a query can search for."""

    FLIP = "flip"
    """Mirrored."""
    ROTATE = "rotate"
    """Rotated by 90, 180 and 270 degrees."""
    GREY = "grey"
    """Without colour."""
    CROP = "crop"
    """Only the middle of the picture."""


_TURNED = AUGMENTATIONS["rotated"]
_VARIANTS: Mapping[Augmentation, tuple[Callable[[Pixels], Pixels], ...]] = {
    Augmentation.FLIP: (AUGMENTATIONS["flipped"],),
    Augmentation.ROTATE: (_TURNED, lambda pixels: _TURNED(_TURNED(pixels)), lambda pixels: _TURNED(pixels[::-1, ::-1])),
    Augmentation.GREY: (AUGMENTATIONS["grey"],),
    Augmentation.CROP: (AUGMENTATIONS["cropped"],),
}


def variants(pixels: Pixels, augmentations: Iterable[Augmentation]) -> Pixels:
    """Return a picture and its variants, the picture first.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
        The picture at a network's input size.
    augmentations
        Variants to make, in the order of `Augmentation`; duplicates are ignored.

    Returns
    -------
    uint8 (n, height, width, 3)
    """
    wanted = set(augmentations)
    made = (make(pixels) for name in Augmentation if name in wanted for make in _VARIANTS[name])
    return np.stack([pixels, *(resized(variant, pixels.shape[:2]) for variant in made)])
