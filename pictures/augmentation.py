"""Variants of a reference: what else the picture that is looked for may look like (thesis, future work)."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import numpy as np
from PIL import Image

from simquery.pictures.pixels import Pixels

__all__ = ["Augmentation", "variants"]

_KEPT = 0.7
"""The share of each side that the centre crop keeps, about half of the picture."""


class Augmentation(StrEnum):
    """What may have been done to the picture."""

    FLIP = "flip"
    """Mirrored."""
    ROTATE = "rotate"
    """Turned by 90, 180 and 270 degrees."""
    GREY = "grey"
    """Without colours."""
    CROP = "crop"
    """The middle of it."""


def variants(pixels: Pixels, augmentations: Iterable[Augmentation]) -> Pixels:
    """Return a picture with its variants, itself first.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
        At a network's input size.
    augmentations
        Which variants; each once, in the order of `Augmentation`.

    Returns
    -------
    uint8 (n, height, width, 3)
    """
    wanted = set(augmentations)
    made = [pixels, *(variant for name in Augmentation if name in wanted for variant in _MAKERS[name](pixels))]
    return np.stack(made)


def _rotated(pixels: Pixels) -> Sequence[Pixels]:
    # Where the input is not square, a quarter turn is brought back to its size, as the whole picture was before.
    return [_fit(np.rot90(pixels, quarters), pixels) for quarters in (1, 2, 3)]


def _grey(pixels: Pixels) -> Sequence[Pixels]:
    return [np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))]


def _cropped(pixels: Pixels) -> Sequence[Pixels]:
    height, width, _ = pixels.shape
    top, left = round(height * (1 - _KEPT) / 2), round(width * (1 - _KEPT) / 2)
    return [_fit(pixels[top : height - top, left : width - left], pixels)]


def _fit(part: Pixels, like: Pixels) -> Pixels:
    if part.shape == like.shape:
        return part
    height, width, _ = like.shape
    return np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize((width, height), Image.Resampling.BILINEAR))


_MAKERS: dict[Augmentation, Callable[[Pixels], Sequence[Pixels]]] = {
    Augmentation.FLIP: lambda pixels: [pixels[:, ::-1]],
    Augmentation.ROTATE: _rotated,
    Augmentation.GREY: _grey,
    Augmentation.CROP: _cropped,
}
