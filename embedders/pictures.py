"""Picture files: opened read-only, identified by their content, brought to a network's input size.

Preprocessing is part of an embedder's identity, so indexing and querying share this one module.
"""

import contextlib
import hashlib
import io
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from simquery.embedders.formats import decoded_formats, is_picture_name
from simquery.errors import PictureError

__all__ = [
    "MAX_PIXELS",
    "RESAMPLING",
    "Digests",
    "NotAPictureError",
    "Picture",
    "PictureFacts",
    "UnreadError",
    "decode",
    "decode_picture",
    "digests_of",
    "is_picture_name",
    "load_picture",
    "open_evidence",
    "sha256_of",
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

_BLOCK = 1 << 20
_MAX_16_BIT = 65535.0
_ROWS = 1024
_WHITE = (255, 255, 255, 255)
_END_OF_JPEG = b"\xff\xd9"
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_PROFILED = frozenset({"L", "RGB", "CMYK"})
_SRGB = ImageCms.createProfile("sRGB")

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


@dataclass(frozen=True)
class Digests:
    """What identifies a content: SHA-256, and MD5 for the hash sets of other tools; both in hex."""

    sha256: str
    md5: str


@contextlib.contextmanager
def open_evidence(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading only, leaving its access time alone where the system allows that.

    Raises
    ------
    OSError
        When it cannot be opened, or is no regular file (any more): a pipe would be waited for.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        descriptor = os.open(path, flags)  # only the owner of a file may ask for O_NOATIME
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file", str(path))
        yield file


def digests_of(file: BufferedReader, stopped: Callable[[], bool] = lambda: False) -> Digests:
    """Digests of a whole file, in constant memory; leaves the position at the start.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` says so.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for block in _blocks(file, stopped):
        sha256.update(block)
        md5.update(block)
    return Digests(sha256.hexdigest(), md5.hexdigest())


def sha256_of(file: BufferedReader, stopped: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 (hex) of a whole file, in constant memory; leaves the position at the start.

    Raises
    ------
    InterruptedError
        As soon as ``stopped`` says so.
    """
    digest = hashlib.sha256()
    for block in _blocks(file, stopped):
        digest.update(block)
    return digest.hexdigest()


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
                rgb = _to_rgb(_reduced(whole, reduced_side), profile, reduced_side)
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


def _blocks(file: BufferedReader, stopped: Callable[[], bool]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK):
        if stopped():
            raise InterruptedError
        yield block
    file.seek(0)


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


def _reduced(image: Image.Image, reduced_side: int) -> Image.Image:
    factor = min(image.size) // reduced_side
    return image.reduce(factor) if factor > 1 and image.mode in _REDUCIBLE else image


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


def _to_rgb(image: Image.Image, profile: bytes | None, reduced_side: int) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _reduced(_eight_bits(image), reduced_side).convert("RGB")
    if image.has_transparency_data:
        layer = _reduced(image.convert("RGBA"), reduced_side)
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
    elif image.mode not in _PROFILED:
        image = _reduced(image.convert("RGB"), reduced_side)
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
