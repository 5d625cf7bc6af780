"""Decoding of picture files to pixels at a network's input size.

How pictures are decoded affects their vectors, so indexing, queries and evaluations all use this module.
"""

import contextlib
import errno
import io
import math
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from io import BufferedReader

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from simquery.errors import PictureError
from simquery.pictures.colours import reduced, to_rgb
from simquery.pictures.formats import decoded_formats

__all__ = [
    "MAX_PIXELS",
    "REDUCED_SIDE",
    "RESAMPLING",
    "NotAPictureError",
    "Picture",
    "PictureFacts",
    "UnreadError",
    "decode",
    "decode_picture",
    "load_picture",
]

REDUCED_SIDE = 672
"""Pixels that both sides of a picture keep at least when it is decoded at a reduced scale: three times the usual input
of 224, and twice the largest input of the thesis, 331."""

RESAMPLING = f"sRGB, reduced to {REDUCED_SIDE}, bilinear"
"""How pictures are scaled to the input size; as in the thesis, the aspect ratio is not kept."""

MAX_PIXELS = 178_956_970
"""A picture with more pixels counts as a decompression bomb (Pillow's own limit for an error)."""

LARGE_PIXELS = 24_000_000
"""Pixels. Pictures that are larger even at the reduced scale are decoded one at a time."""

_LONGEST_REASON = 200
_METADATA = {"exif": bytes, "icc_profile": bytes, "xmp": bytes, "XML:com.adobe.xmp": str}
"""Metadata that Pillow returns with the type that the file gives it, and the type that Pillow itself expects."""

_END_OF_JPEG = b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


class NotAPictureError(PictureError):
    """The content of a file has no picture format that can be decoded here."""


class UnreadError(PictureError):
    """A file could not be read this time; another attempt may succeed."""


@dataclass(frozen=True)
class PictureFacts:
    """What a picture file says about itself.

    Attributes
    ----------
    format
        Pillow's name of the format.
    width, height
        In pixels, as displayed.
    truncated
        Whether only a part of it could be decoded.
    dropped
        Unusable metadata, each with the reason; the picture was decoded without it.
    """

    format: str
    width: int
    height: int
    truncated: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A decoded picture: its facts, its pixels (upright, in sRGB), its EXIF record."""

    facts: PictureFacts
    rgb: Image.Image
    exif: Image.Exif

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the pixels scaled to (height, width): uint8 of shape (height, width, 3)."""
        height, width = size
        return np.asarray(self.rgb.resize((width, height), Image.Resampling.BILINEAR))


def decode(file: BufferedReader, sizes: Iterable[tuple[int, int]]) -> tuple[PictureFacts, list[NDArray[np.uint8]]]:
    """Decode a picture and scale it to several input sizes; see `decode_picture`."""
    picture, arrays = decode_picture(file, sizes)
    return picture.facts, arrays


def decode_picture(
    file: BufferedReader,
    sizes: Iterable[tuple[int, int]],
    alone: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Picture, list[NDArray[np.uint8]]]:
    """Decode a picture and scale it to several input sizes; see `load_picture`.

    Parameters
    ----------
    file
        An open file.
    sizes
        Height and width of each result.
    alone
        Entered while a very large picture is decoded.

    Returns
    -------
    picture, arrays
        The decoded picture, and one uint8 array of shape (height, width, 3) for each size. An array does not depend on
        the other sizes.
    """
    picture, arrays = load_picture(file, REDUCED_SIDE, alone), []
    for size in sizes:
        if max(size) * 2 <= REDUCED_SIDE:
            arrays.append(picture.pixels(size))
        else:  # a network with a larger input than usual
            arrays.append(load_picture(file, 2 * max(size), alone).pixels(size))
    return picture, arrays


def load_picture(
    file: BufferedReader,
    reduced_side: int = REDUCED_SIDE,
    alone: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Picture:
    """Decode a picture, at a reduced scale if it is large.

    This takes the first frame or page, applies the EXIF orientation, converts the colours of an embedded profile to
    sRGB, shows transparent parts on white, and scales 16-bit and float pictures to 8 bits. It decodes as much as
    possible of a truncated picture, and drops unusable metadata.

    Parameters
    ----------
    file
        An open file of the operating system. Its position is undefined afterwards.
    reduced_side
        Pixels that both sides keep at least; a shorter side keeps all its pixels.
    alone
        Entered while a very large picture is decoded.

    Raises
    ------
    NotAPictureError
        When the content has no known picture format.
    PictureError
        When the picture is broken or too large; the message gives the reason.
    OSError
        When the file cannot be read.
    """
    try:
        dropped: list[str] = []
        with _own_reader(file) as reader, _opened(reader, dropped) as image:
            facts = PictureFacts(image.format or "unknown", *image.size)
            dropped += _drop_unusable(image)
            profile = image.info.get("icc_profile")
            image.draft(None, (reduced_side, reduced_side))  # a JPEG decoder can reduce the scale itself
            with alone() if math.prod(image.size) > LARGE_PIXELS else nullcontext():
                whole, truncated = _loaded(image, file, reduced_side, dropped)
                rgb, problem = to_rgb(reduced(whole, reduced_side), profile, reduced_side)
            if problem:
                dropped.append(f"ICC profile: {problem}")
            exif = _exif(whole, dropped)
            orientation = _orientation(exif, dropped)
            if orientation in _TURNS:
                rgb = rgb.transpose(_TURNS[orientation])
            if orientation in _SIDEWAYS:
                facts = replace(facts, width=facts.height, height=facts.width)
            return Picture(replace(facts, truncated=truncated, dropped=tuple(map(_printable, dropped))), rgb, exif)
    except UnidentifiedImageError:
        raise NotAPictureError("not a picture in any format that can be decoded here") from None
    except Image.DecompressionBombError:
        raise PictureError(f"decompression bomb: more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise UnreadError("too large for the memory of this machine") from None
    except PictureError:
        raise
    except Exception as error:
        if _is_of_the_disk(error):
            raise
        raise PictureError(f"broken picture: {str(error).rstrip('.') or type(error).__name__}") from None


def _opened(reader: BufferedReader, dropped: list[str]) -> ImageFile.ImageFile:
    """Open a picture without decoding it; a PNG with unreadable metadata is opened without that metadata."""
    try:
        return Image.open(reader, formats=decoded_formats())
    except (UnidentifiedImageError, ValueError) as error:
        reader.seek(0)
        if reader.read(len(_PNG)) != _PNG:
            raise
        reason = str(error)
    reader.seek(0)
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image = Image.open(reader, formats=("PNG",))
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    dropped.append(f"PNG chunk: {reason}")
    return image


def _loaded(
    image: ImageFile.ImageFile, file: BufferedReader, reduced_side: int, dropped: list[str]
) -> tuple[Image.Image, bool]:
    """Decode the pixels; return the picture, and whether some of its pixels are missing."""
    truncated = True
    try:
        image.load()
    except (OSError, SyntaxError, EOFError) as error:
        if _is_of_the_disk(error):
            raise
        reason = str(error).rstrip(".")
    except ValueError as error:
        if image.format != "PNG":
            raise
        reason, truncated = str(error), False  # the error is in metadata after the pixels
        dropped.append(f"PNG chunk: {reason}")
    else:
        return image, False
    if image.format in {"JPEG", "MPO"}:
        image = _ended_jpeg(file, reduced_side)
    with contextlib.suppress(OSError, SyntaxError, EOFError, ValueError):
        image.load()
    image.tile = []  # keep what has been decoded so far
    if all(low == high for low, high in _extrema(image)):
        raise PictureError(f"broken picture: {reason}")
    return image, truncated


def _is_of_the_disk(error: Exception) -> bool:
    """Return whether the disk or network failed. EINVAL means a broken picture: Pillow then seeks before the start."""
    return isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}


def _ended_jpeg(file: BufferedReader, reduced_side: int) -> ImageFile.ImageFile:
    """Open a JPEG with an end marker added to the file: without one, a decoder does not return what it has decoded."""
    reader, missing = _own_reader(file), io.BytesIO(_END_OF_JPEG)
    image = Image.open(reader, formats=("JPEG",))
    image.draft(None, (reduced_side, reduced_side))
    image.load_read = lambda size: reader.read(size) or missing.read()  # type: ignore[attr-defined]
    return image


def _own_reader(file: BufferedReader) -> BufferedReader:
    """Return another reader of the same open file, at its start: some of Pillow's plug-ins close their reader."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return open(file.fileno(), "rb", closefd=False)


def _extrema(image: Image.Image) -> tuple[tuple[float, float], ...]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _drop_unusable(image: ImageFile.ImageFile) -> list[str]:
    """Drop metadata of a type that Pillow cannot handle: its TIFF reader returns values of whatever type a tag has."""
    unusable = {name: kind for name, kind in _METADATA.items() if not isinstance(image.info.get(name), kind | None)}
    return [
        f"{name}: {type(image.info.pop(name)).__name__} instead of {kind.__name__}" for name, kind in unusable.items()
    ]


def _exif(image: Image.Image, dropped: list[str]) -> Image.Exif:
    try:
        return image.getexif()
    except Exception as error:  # noqa: BLE001  (broken EXIF must not hide sound pixels)
        dropped.append(f"EXIF: {error or type(error).__name__}")
        return Image.Exif()


def _orientation(exif: Image.Exif, dropped: list[str]) -> int:
    value = exif.get(ExifTags.Base.Orientation, 1)
    try:
        if (orientation := int(value)) in range(1, 9):
            return orientation
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    dropped.append(f"EXIF orientation: {value}")
    return 1


def _printable(reason: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in reason)[:_LONGEST_REASON]
