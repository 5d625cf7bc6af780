"""Facts about a picture beyond its pixels: when, where and with which camera it was taken, and its perceptual hash.

Impossible facts are left out: EXIF records may come from a camera whose clock was never set, from an editor, or from
somebody who wants to mislead.
"""

import base64
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import imagehash
from PIL import ExifTags, Image

from simquery.pictures.decoding import MAX_PIXELS, Picture
from simquery.pictures.thumbnails import THUMBNAIL_BYTES, thumbnail

__all__ = ["camera", "described", "location", "require_facts", "taken_at"]

_PERCEPTUAL_SIDE = 64
_EARLIEST_YEAR = 1826
"""Year of the oldest surviving photograph."""

_LONGEST_NAME = 100
_LONGEST_TEXT = 1000
_MOMENT = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd]+")
_HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def described(picture: Picture, *, with_thumbnail: bool) -> dict[str, Any]:
    """Return the fields of an image document that a decoded picture determines; unknown ones are absent."""
    dropped = list(picture.facts.dropped)

    def said(name: str, read: Callable[[Image.Exif], Any]) -> Any:
        try:
            return read(picture.exif)
        except Exception as error:  # noqa: BLE001  (a damaged record may make a parser raise anything)
            dropped.append(f"EXIF {name}: {type(error).__name__}")
            return None

    fields = {
        "format": picture.facts.format,
        "width": picture.facts.width,
        "height": picture.facts.height,
        "truncated": picture.facts.truncated or None,
        "perceptual_hash": perceptual_hash(picture.rgb),
        "taken_at": said("date", taken_at),
        "camera": said("camera", camera),
        "location": said("location", location),
        "metadata_dropped": dropped or None,
        "thumbnail": base64.b64encode(thumbnail(picture.rgb)).decode("ascii") if with_thumbnail else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def require_facts(fields: dict[str, Any]) -> dict[str, Any]:
    """Check and return the fields that `described` made: a decoder that a file took over may send anything.

    Raises
    ------
    ValueError
        When a field is missing, unknown, or has a value that no picture has.
    """
    try:
        possible = all(_POSSIBLE[name](value) for name, value in fields.items())
        whole = {"format", "width", "height"} <= fields.keys()
    except (TypeError, AttributeError, LookupError) as error:  # a value has the wrong type
        raise ValueError(str(error)) from error
    if not possible or not whole:
        raise ValueError("facts that no picture has")
    return fields


def perceptual_hash(rgb: Image.Image) -> str:
    """Return imagehash's 64-bit ``phash`` (16 hex digits); scaling or re-saving a picture changes few of its bits."""
    # Scale coarsely first: the hash looks at 32 x 32 pixels, and smooth scaling of a large picture takes long.
    small = rgb.convert("L").resize((_PERCEPTUAL_SIDE, _PERCEPTUAL_SIDE), Image.Resampling.BOX)
    return str(imagehash.phash(small))


def taken_at(exif: Image.Exif) -> str | None:
    """Return when the picture was taken by the camera's clock (ISO 8601), with the offset from UTC if EXIF gives it."""
    details = exif.get_ifd(ExifTags.IFD.Exif)
    candidates = (
        (details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.OffsetTimeOriginal)),
        (exif.get(ExifTags.Base.DateTime), details.get(ExifTags.Base.OffsetTime)),
    )
    return next((moment for each in candidates if (moment := _moment(*each))), None)


def camera(exif: Image.Exif) -> str | None:
    """Return make and model of the camera, without repeating the make."""
    make, model = (_text(exif.get(tag)) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    if model.lower().startswith(make.lower()):
        make = ""
    return f"{make} {model}".strip()[:_LONGEST_NAME] or None


def location(exif: Image.Exif) -> dict[str, float] | None:
    """Return where the picture was taken, in degrees; None if a part is missing or impossible, or both are 0°."""
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), _text(gps.get(ExifTags.GPS.GPSLatitudeRef)), "NS", 90.0)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), _text(gps.get(ExifTags.GPS.GPSLongitudeRef)), "EW", 180.0)
    if latitude is None or longitude is None or latitude == longitude == 0.0:
        return None
    return {"lat": latitude, "lon": longitude}


def _moment(value: object, offset: object) -> str | None:
    found = _MOMENT.match(_text(value))
    if found is None:
        return None
    try:
        moment = datetime(*(int(part) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:  # "0000:00:00 00:00:00": the clock was never set
        return None
    if moment.year < _EARLIEST_YEAR:
        return None
    zone = _text(offset)
    return moment.isoformat() + (zone if _OFFSET.fullmatch(zone) else "")


def _degrees(value: Any, direction: str, directions: str, most: float) -> float | None:
    if value is None or direction[:1] not in tuple(directions):
        return None
    degrees, minutes, seconds = (float(part) for part in value)
    angle = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(angle) or min(degrees, minutes, seconds) < 0 or angle > most:
        return None
    return -angle if direction[0] == directions[1] else angle


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return " ".join(_UNPRINTABLE.sub(" ", _SURROGATE.sub(" ", value)).split())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and not _HARMFUL.search(value)


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_PIXELS


def _is_moment(value: Any) -> bool:
    return _is_text(value) and datetime.fromisoformat(value).year >= _EARLIEST_YEAR


def _is_place(value: Any) -> bool:
    return value.keys() == {"lat", "lon"} and abs(float(value["lat"])) <= 90 and abs(float(value["lon"])) <= 180  # noqa: PLR2004


def _is_thumbnail(value: Any) -> bool:
    return len(base64.b64decode(value, validate=True)) <= THUMBNAIL_BYTES


_POSSIBLE: dict[str, Callable[[Any], bool]] = {
    "format": _is_text,
    "width": _is_side,
    "height": _is_side,
    "truncated": lambda value: value is True,
    "perceptual_hash": lambda value: bool(re.fullmatch("[0-9a-f]{16}", value)),
    "taken_at": _is_moment,
    "camera": _is_text,
    "location": _is_place,
    "metadata_dropped": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "thumbnail": _is_thumbnail,
}
