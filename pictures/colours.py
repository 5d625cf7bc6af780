"""Bringing pictures of any mode to 8-bit RGB in sRGB."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["reduced", "to_rgb"]

_MAX_16_BIT = 65535.0
_ROWS = 1024
_WHITE = (255, 255, 255, 255)
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_PROFILED = frozenset({"L", "RGB", "CMYK"})
_SRGB = ImageCms.createProfile("sRGB")


def reduced(image: Image.Image, reduced_side: int) -> Image.Image:
    """Scale a large picture down by a whole number; both sides keep at least ``reduced_side`` pixels."""
    factor = min(image.size) // reduced_side
    return image.reduce(factor) if factor > 1 and image.mode in _REDUCIBLE else image


def to_rgb(image: Image.Image, profile: bytes | None, reduced_side: int) -> Image.Image:
    """Convert a picture of any mode to RGB in sRGB.

    Parameters
    ----------
    image
        The decoded picture.
    profile
        Its embedded ICC profile.
    reduced_side
        As for `reduced`.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return reduced(_eight_bits(image), reduced_side).convert("RGB")
    if image.has_transparency_data:
        layer = reduced(image.convert("RGBA"), reduced_side)
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
    elif image.mode not in _PROFILED:
        image = reduced(image.convert("RGB"), reduced_side)
    if profile and (converted := _in_srgb(image, profile)):
        return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The colours that a profile means, or None where it is damaged, does not fit, or is sRGB already."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255: a 16-bit picture would come out white.
    low, high = 0.0, 0.0
    for values in _rows(image):
        low, high = min(low, float(values.min(initial=0.0))), max(high, float(values.max(initial=0.0)))
    if image.mode != "F" and low >= 0 and high <= _MAX_16_BIT:
        low, high = 0.0, _MAX_16_BIT
    scale = 255.0 / (high - low or 1.0)
    return Image.fromarray(np.concatenate([((rows - low) * scale).round().astype(np.uint8) for rows in _rows(image)]))


def _rows(image: Image.Image) -> Iterator[NDArray[np.float32]]:
    """The picture in strips, as numbers: all of it at once would take four times its memory."""
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        yield np.nan_to_num(np.asarray(strip, dtype=np.float32), posinf=0.0, neginf=0.0)
