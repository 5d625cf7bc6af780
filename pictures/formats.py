"""Which picture formats are decoded here, and which files are named as pictures."""

from functools import cache
from pathlib import Path

from PIL import Image

__all__ = ["decoded_formats", "is_picture_name"]

# Formats that Pillow knows by name only or hands to another program (Ghostscript): hostile input must not reach that.
_NOT_DECODED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})

# Pictures by their name that cannot be decoded here: they must not pass for text in the account of what was not seen.
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_OTHER_PICTURES = _RAW | {".emf", ".eps", ".fits", ".jxl", ".ps", ".svg", ".wmf"}


@cache
def decoded_formats() -> tuple[str, ...]:
    """Names of the formats that are tried on a file, whatever its own name is."""
    import pillow_heif  # noqa: PLC0415  (a query by an indexed picture decodes nothing)

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    decoded = (name for name in Image.ID if name not in _NOT_DECODED)
    return tuple(sorted(decoded, key=_is_parsed_to_be_known))


def _is_parsed_to_be_known(name: str) -> bool:
    """Whether a format is not known by a file's first bytes: such formats are tried last, for that takes longer."""
    _, accepts = Image.OPEN[name]
    return accepts is None


def is_picture_name(path: Path) -> bool:
    """Whether a file is named as a picture, also one of a format that is not decoded here."""
    formats = decoded_formats()
    suffix = path.suffix.lower()
    return suffix in _OTHER_PICTURES or Image.registered_extensions().get(suffix) in formats
