"""Which picture formats are decoded, and which files are named as pictures."""

import importlib.util
from functools import cache
from pathlib import Path

from PIL import Image

__all__ = ["decoded_formats", "is_picture_name"]

# Formats that Pillow knows by name only, or hands to another program (Ghostscript) that hostile input must not reach.
_NOT_DECODED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})

# Names of pictures that are not decoded: the account of what nobody saw must not count them as text.
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_OTHER_PICTURES = _RAW | {".emf", ".eps", ".fits", ".jxl", ".ps", ".svg", ".wmf"}


@cache
def decoded_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are tried on a file, whatever its own name is."""
    import pillow_heif  # noqa: PLC0415  (a query by an indexed picture decodes nothing)

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    if importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")  # registers JPEG XL
    decoded = (name for name in Image.ID if name not in _NOT_DECODED)
    return tuple(sorted(decoded, key=_is_parsed_to_be_known))


def _is_parsed_to_be_known(name: str) -> bool:
    """Whether a file's first bytes do not tell that it has this format; such formats are tried last, being slower."""
    _, accepts = Image.OPEN[name]
    return accepts is None


def is_picture_name(path: Path) -> bool:
    """Whether a file is named as a picture, be it of a format that is not decoded."""
    formats = decoded_formats()
    suffix = path.suffix.lower()
    return suffix in _OTHER_PICTURES or Image.registered_extensions().get(suffix) in formats
