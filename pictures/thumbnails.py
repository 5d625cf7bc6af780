"""Thumbnails: small JPEG pictures stored with documents and results, so that people can look through them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from simquery.errors import PictureError

__all__ = ["THUMBNAIL_BYTES", "blurred", "read_small", "read_thumbnail", "thumbnail"]

THUMBNAIL_BYTES = 8192
"""Most bytes that a thumbnail may take."""

_SIDES = (192, 160, 128, 96, 64, 32)
_QUALITY = 75
_BLUR = 1 / 16
"""Radius of the blur as a share of the longer side: colours and coarse shapes stay, faces and details disappear."""


def thumbnail(picture: Image.Image) -> bytes:
    """Make a JPEG of at most `THUMBNAIL_BYTES`: the largest of a few sizes that fits."""
    content = b""
    for side in _SIDES:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        sink = io.BytesIO()
        small.save(sink, "JPEG", quality=_QUALITY, optimize=True)
        content = sink.getvalue()
        if len(content) <= THUMBNAIL_BYTES:
            break
    return content


def read_thumbnail(path: Path) -> bytes:
    """Return the thumbnail of a picture file, which a decoder process decodes.

    Raises
    ------
    PictureError
        When the file cannot be read or decoded.
    """
    return thumbnail(read_small(path, _SIDES[0]))


def read_small(path: Path, side: int) -> Image.Image:
    """Return a picture file in RGB, its longer side scaled to ``side`` pixels; errors as for `read_thumbnail`."""
    from simquery.pictures.decoders import shared_decoders  # noqa: PLC0415  (decoders import this module)

    pixels = np.empty((side, side, 3), np.uint8)
    fields = shared_decoders().decode(path, [pixels])
    if isinstance(fields, PictureError):
        raise fields
    longest = max(fields["width"], fields["height"])
    shape = (max(1, fields["width"] * side // longest), max(1, fields["height"] * side // longest))
    return Image.fromarray(pixels).resize(shape)


def blurred(content: bytes) -> bytes:
    """Blur a thumbnail, because seeing disturbing pictures again and again harms the people who work with them."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        radius = max(2.0, max(picture.size) * _BLUR)
        return thumbnail(picture.convert("RGB").filter(ImageFilter.GaussianBlur(radius)))
