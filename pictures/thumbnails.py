"""Thumbnails: small JPEG pictures that are stored beside results, so that people can look through them."""

import io
from pathlib import Path

from PIL import Image, ImageFilter

from simquery.pictures.decoding import decode
from simquery.pictures.files import open_evidence

__all__ = ["THUMBNAIL_BYTES", "blurred", "read_small", "read_thumbnail", "thumbnail"]

THUMBNAIL_BYTES = 8192
"""A thumbnail has at most so many bytes."""

_SIDES = (192, 160, 128, 96, 64, 32)
_QUALITY = 75
_BLUR = 1 / 16
"""Radius of the blur, as a part of the longer side: colours and coarse shapes stay, faces and details go."""


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
    """Thumbnail of a picture file.

    Raises
    ------
    PictureError
        When it is no picture that can be decoded.
    OSError
        When it cannot be read.
    """
    return thumbnail(read_small(path, _SIDES[0]))


def read_small(path: Path, side: int) -> Image.Image:
    """Picture file in RGB, its longer side `side` pixels; raises what `read_thumbnail` does."""
    with open_evidence(path) as file:
        facts, (pixels,) = decode(file, [(side, side)])
    longest = max(facts.width, facts.height)
    return Image.fromarray(pixels).resize(
        (max(1, facts.width * side // longest), max(1, facts.height * side // longest))
    )


def blurred(content: bytes) -> bytes:
    """Blur a thumbnail: to see disturbing pictures again and again harms the people who work with them."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        radius = max(2.0, max(picture.size) * _BLUR)
        return thumbnail(picture.convert("RGB").filter(ImageFilter.GaussianBlur(radius)))
