"""Picture files: opened read-only, identified by their content, brought to a network's input size.

Preprocessing is part of an embedder's identity, so indexing and querying share this one module.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from simquery.errors import PictureError

__all__ = [
    "MAX_PIXELS",
    "RESAMPLING",
    "NotAPictureError",
    "PictureFacts",
    "UnreadError",
    "decode",
    "is_picture_name",
    "open_evidence",
    "sha256_of",
]

RESAMPLING = "bilinear"
"""Filter that brings a picture to the input size; the aspect ratio is not kept, as in the thesis."""

MAX_PIXELS = 178_956_970
"""More pixels than this are taken for a decompression bomb (Pillow's own limit for an error)."""

_BLOCK = 1 << 20
_MAX_16_BIT = 65535.0
_WHITE = (255, 255, 255, 255)

# Formats that Pillow knows by name only or hands to another program (Ghostscript): hostile input must not reach that.
_NOT_DECODED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})

# Pictures by their name that cannot be decoded here: they must not pass for text in the account of what was not seen.
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_OTHER_PICTURES = _RAW | {".emf", ".eps", ".fits", ".heic", ".heif", ".hif", ".jxl", ".ps", ".svg", ".wmf"}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class NotAPictureError(PictureError):
    """A file whose content is of no picture format that can be decoded here."""


class UnreadError(PictureError):
    """A file that could not be read this time; the next time may be different."""


@dataclass(frozen=True)
class PictureFacts:
    """What a picture file says of itself: format as Pillow names it, width and height in pixels as displayed."""

    format: str
    width: int
    height: int


@contextlib.contextmanager
def open_evidence(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading only, leaving its access time alone where the system allows that."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        descriptor = os.open(path, flags)  # only the owner of a file may ask for O_NOATIME
    with os.fdopen(descriptor, "rb") as file:
        yield file


def sha256_of(file: BufferedReader, stopped: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 (hex) of a whole file, in constant memory; leaves the position at the start.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` says so.
    """
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        if stopped():
            raise InterruptedError
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def is_picture_name(path: Path) -> bool:
    """Whether a file is named as a picture, also one of a format that `decode` does not read."""
    suffix = path.suffix.lower()
    return suffix in _OTHER_PICTURES or Image.registered_extensions().get(suffix) in _formats()


def decode(file: BufferedReader, sizes: Iterable[tuple[int, int]]) -> tuple[PictureFacts, list[NDArray[np.uint8]]]:
    """Decode a picture once and bring it to several input sizes.

    The first frame or page counts; EXIF orientation is applied; transparent parts are shown on white; 16-bit and
    float pictures are scaled to 8 bits.

    Parameters
    ----------
    file
        Positioned at the start.
    sizes
        Height and width of each result.

    Returns
    -------
    facts, arrays
        One uint8 array of shape (height, width, 3) for each size.

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
        with Image.open(file, formats=_formats()) as image:
            image_format = image.format or "unknown"
            turn = _TURNS.get(_orientation(image))
            rgb = _to_rgb(image)
            if turn is not None:
                rgb = rgb.transpose(turn)
            return PictureFacts(image_format, *rgb.size), [_resize(rgb, size) for size in sizes]
    except UnidentifiedImageError:
        raise NotAPictureError("not a picture in any format that can be decoded here") from None
    except Image.DecompressionBombError:
        raise PictureError(f"decompression bomb: more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise UnreadError("too large for the memory of this machine") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not the picture is broken, but the disk or the network
        raise PictureError(f"broken picture: {str(error).rstrip('.') or type(error).__name__}") from None


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_DECODED)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  (broken EXIF beside sound pixels: the picture still counts)
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255: a 16-bit picture would come out white.
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if image.mode != "F" and low >= 0 and high <= _MAX_16_BIT:
        low, high = 0.0, _MAX_16_BIT
    span = high - low or 1.0
    return Image.fromarray(((values - low) * (255.0 / span)).round().astype(np.uint8))


def _resize(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
