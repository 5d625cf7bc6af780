"""Conversion of pictures in any Pillow mode to 8-bit RGB in sRGB."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["reduced", "to_rgb"]

_LONGEST_SIDE = 1 << 20
"""Pixels. Scaling down a longer side in one step would take gigabytes."""

_MAX_16_BIT = 65535.0
_ROWS = 1024
_WHITE = (255, 255, 255, 255)
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_PROFILED = frozenset({"L", "RGB", "CMYK"})
_SRGB = ImageCms.createProfile("sRGB")


def reduced(image: Image.Image, reduced_side: int) -> Image.Image:
    """Scale a large picture down by whole numbers, so that each side keeps at least ``reduced_side`` pixels.

    A shorter side keeps all its pixels. Both sides are divided by the same number, unless one of them is longer than
    `_LONGEST_SIDE`.
    """
    least = max(1, min(image.size) // reduced_side)
    across, down = (max(least, -(-side // _LONGEST_SIDE)) for side in image.size)
    return image.reduce((across, down)) if max(across, down) > 1 and image.mode in _REDUCIBLE else image


def to_rgb(image: Image.Image, profile: bytes | None, reduced_side: int) -> tuple[Image.Image, str | None]:
    """Convert a picture in any mode to RGB in sRGB.

    Parameters
    ----------
    image
        The decoded picture.
    profile
        Its embedded ICC profile.
    reduced_side
        As for `reduced`.

    Returns
    -------
    picture, problem
        The picture in RGB; why its profile could not be used, or None.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return reduced(_eight_bits(image), reduced_side).convert("RGB"), None
    if image.has_transparency_data:
        layer = reduced(image.convert("RGBA"), reduced_side)
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
    elif image.mode not in _PROFILED:
        image = reduced(image.convert("RGB"), reduced_side)
    converted, problem = _in_srgb(image, profile) if profile else (None, None)
    if converted is not None:
        return converted, None
    return image if image.mode == "RGB" else image.convert("RGB"), problem


def _in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image | None, str | None]:
    """Return the picture converted to sRGB, or None if it is in sRGB already or its profile is unusable; and why."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None, None
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB"), None
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return None, str(error)


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255, which would turn a 16-bit picture white.
    low, high = 0.0, 0.0
    for values in _rows(image):
        low, high = min(low, float(values.min(initial=0.0))), max(high, float(values.max(initial=0.0)))
    if image.mode != "F" and low >= 0 and high <= _MAX_16_BIT:
        low, high = 0.0, _MAX_16_BIT
    scale = 255.0 / (high - low or 1.0)
    return Image.fromarray(np.concatenate([((rows - low) * scale).round().astype(np.uint8) for rows in _rows(image)]))


def _rows(image: Image.Image) -> Iterator[NDArray[np.float32]]:
    """Yield the picture in strips of float32: the whole picture at once would take four times its memory."""
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        yield np.nan_to_num(np.asarray(strip, dtype=np.float32), posinf=0.0, neginf=0.0)
