"""Picture formats: which ones are decoded, and which file names look like pictures."""

import importlib.util
from functools import cache
from pathlib import Path

from PIL import Image

__all__ = ["decoded_formats", "is_picture_name"]

# Formats that Pillow only recognises, or decodes by another program (Ghostscript), which hostile input must not reach.
_NOT_DECODED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})

# Suffixes of picture formats that are not decoded: the ledger must list such files as pictures that nobody saw.
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_OTHER_PICTURES = _RAW | {".emf", ".eps", ".fits", ".jxl", ".ps", ".svg", ".wmf"}


@cache
def decoded_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are tried on every file, whatever the file is called."""
    import pillow_heif  # noqa: PLC0415  (a query by an indexed picture does not need it)

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    if importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")  # registers JPEG XL
    decoded = (name for name in Image.ID if name not in _NOT_DECODED)
    return tuple(sorted(decoded, key=_is_parsed_to_be_known))


def _is_parsed_to_be_known(name: str) -> bool:
    """Return whether the first bytes do not identify a format; such formats are tried last, because they are slower."""
    _, accepts = Image.OPEN[name]
    return accepts is None


def is_picture_name(path: Path) -> bool:
    """Return whether a file has the name of a picture, even in a format that is not decoded."""
    formats = decoded_formats()
    suffix = path.suffix.lower()
    return suffix in _OTHER_PICTURES or Image.registered_extensions().get(suffix) in formats
