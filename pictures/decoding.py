"""From a picture file to pixels at a network's input size.

Preprocessing is part of an embedder's identity, so indexing, queries and evaluations share this one module.
"""

import contextlib
import io
import math
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
"""Pictures are decoded at a reduced scale as long as both sides keep this many pixels: 3 × 224, and 2 × 331 of the
largest input of the thesis."""

RESAMPLING = f"sRGB, reduced to {REDUCED_SIDE}, bilinear"
"""How a picture is brought to the input size; the aspect ratio is not kept, as in the thesis."""

MAX_PIXELS = 178_956_970
"""More pixels than this are taken for a decompression bomb (Pillow's own limit for an error)."""

LARGE_PIXELS = 24_000_000
"""A picture that has more once it is reduced is decoded while no other such picture is."""

_END_OF_JPEG = b"\xff\xd9"

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
    """A file whose content is of no picture format that can be decoded here."""


class UnreadError(PictureError):
    """A file that could not be read this time; the next time may be different."""


@dataclass(frozen=True)
class PictureFacts:
    """What a picture file says of itself.

    Attributes
    ----------
    format
        As Pillow names it.
    width, height
        In pixels, as displayed.
    truncated
        Whether only a part of it could be decoded.
    """

    format: str
    width: int
    height: int
    truncated: bool = False


@dataclass(frozen=True)
class Picture:
    """A decoded picture: what it says of itself, its pixels in sRGB and upright, its EXIF record."""

    facts: PictureFacts
    rgb: Image.Image
    exif: Image.Exif

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels at a size (height, width): uint8 of shape (height, width, 3)."""
        height, width = size
        return np.asarray(self.rgb.resize((width, height), Image.Resampling.BILINEAR))


def decode(file: BufferedReader, sizes: Iterable[tuple[int, int]]) -> tuple[PictureFacts, list[NDArray[np.uint8]]]:
    """Decode a picture and bring it to several input sizes; see `decode_picture`."""
    picture, arrays = decode_picture(file, sizes)
    return picture.facts, arrays


def decode_picture(
    file: BufferedReader,
    sizes: Iterable[tuple[int, int]],
    alone: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Picture, list[NDArray[np.uint8]]]:
    """Decode a picture and bring it to several input sizes; see `load_picture`.

    Parameters
    ----------
    file
        Positioned at the start.
    sizes
        Height and width of each result.
    alone
        Entered while a very large picture is being decoded.

    Returns
    -------
    picture, arrays
        One uint8 array of shape (height, width, 3) for each size. Each depends on its own size alone.
    """
    picture, arrays = load_picture(file, REDUCED_SIDE, alone), []
    for size in sizes:
        if max(size) * 2 <= REDUCED_SIDE:
            arrays.append(picture.pixels(size))
        else:  # a network that looks at more detail than the usual ones
            file.seek(0)
            arrays.append(load_picture(file, 2 * max(size), alone).pixels(size))
    return picture, arrays


def load_picture(
    file: BufferedReader,
    reduced_side: int = REDUCED_SIDE,
    alone: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Picture:
    """Decode a picture, at a reduced scale if it is large.

    The first frame or page counts; EXIF orientation is applied; colours of an embedded profile are brought to sRGB;
    transparent parts are shown on white; 16-bit and float pictures are scaled to 8 bits. A truncated picture is decoded
    as far as it goes.

    Parameters
    ----------
    file
        Positioned at the start.
    reduced_side
        Both sides keep at least so many pixels, where they have them.
    alone
        Entered while a very large picture is being decoded.

    Raises
    ------
    NotAPictureError
        When the content is of no known picture format.
    PictureError
        When it is a picture, but a broken or a too large one; the message is the reason.
    OSError
        When the file cannot be read.
    """
    try:
        with Image.open(file, formats=decoded_formats()) as image:
            facts = PictureFacts(image.format or "unknown", *image.size)
            profile = image.info.get("icc_profile")
            image.draft(None, (reduced_side, reduced_side))  # JPEG: the decoder itself can leave out detail
            with alone() if math.prod(image.size) > LARGE_PIXELS else nullcontext():
                whole, truncated = _loaded(image, file, reduced_side)
                rgb = to_rgb(reduced(whole, reduced_side), profile, reduced_side)
            exif = _exif(whole)
            orientation = _orientation(exif)
            if orientation in _TURNS:
                rgb = rgb.transpose(_TURNS[orientation])
            if orientation in _SIDEWAYS:
                facts = replace(facts, width=facts.height, height=facts.width)
            return Picture(replace(facts, truncated=truncated), rgb, exif)
    except UnidentifiedImageError:
        raise NotAPictureError("not a picture in any format that can be decoded here") from None
    except Image.DecompressionBombError:
        raise PictureError(f"decompression bomb: more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise UnreadError("too large for the memory of this machine") from None
    except PictureError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not the picture is broken, but the disk or the network
        raise PictureError(f"broken picture: {str(error).rstrip('.') or type(error).__name__}") from None


def _loaded(image: ImageFile.ImageFile, file: BufferedReader, reduced_side: int) -> tuple[Image.Image, bool]:
    """The picture with its pixels, and whether that is only a part of them."""
    try:
        image.load()
    except (OSError, SyntaxError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).rstrip(".")
    else:
        return image, False
    if image.format in {"JPEG", "MPO"}:
        image = _ended_jpeg(file, reduced_side)
    with contextlib.suppress(OSError, SyntaxError, EOFError):
        image.load()
    image.tile = []  # what has been decoded until here is the picture
    if all(low == high for low, high in _extrema(image)):
        raise PictureError(f"broken picture: {reason}")
    return image, True


def _ended_jpeg(file: BufferedReader, reduced_side: int) -> ImageFile.ImageFile:
    """The picture, its file's end followed by the marker that a decoder waits for before it shows what it has."""
    file.seek(0)
    image = Image.open(file, formats=("JPEG",))
    image.draft(None, (reduced_side, reduced_side))
    missing = io.BytesIO(_END_OF_JPEG)
    image.load_read = lambda size: file.read(size) or missing.read()  # type: ignore[attr-defined]
    return image


def _extrema(image: Image.Image) -> tuple[tuple[float, float], ...]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001  (broken EXIF beside sound pixels: the picture still counts)
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    try:
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except (TypeError, ValueError):
        return 1
