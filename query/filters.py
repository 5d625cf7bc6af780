"""Filters: Elasticsearch queries that limit a query to some pictures of a case."""

import calendar
import datetime as dt
import json
import re
from dataclasses import dataclass, fields
from typing import Any

from simquery.errors import QueryError

__all__ = ["Filters", "Place", "period"]

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_MAX_LATITUDE, _MAX_LONGITUDE = 90, 180
_ALIASES = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF", "JP2": "JPEG2000"}
_SPECIAL = re.compile(r'[.?+*|{}\[\]()"\\#@&<>~^$-]')


@dataclass(frozen=True)
class Place:
    """A circle around a point: latitude and longitude in degrees, radius in kilometres."""

    latitude: float
    longitude: float
    radius: float

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read ``LAT,LON,KM``.

        Raises
        ------
        QueryError
            When the text has another form, or a number is out of its range.
        """
        try:
            latitude, longitude, radius = (float(part) for part in text.split(","))
        except ValueError:
            raise QueryError(f"'{text}' is not a place: give LAT,LON,KM, for example 52.37,4.9,10.") from None
        if not (abs(latitude) <= _MAX_LATITUDE and abs(longitude) <= _MAX_LONGITUDE and 0 < radius < float("inf")):
            raise QueryError(
                f"'{text}' is not a place: latitude must be within ±90, longitude within ±180, the radius above 0."
            )
        return cls(latitude, longitude, radius)


@dataclass(frozen=True)
class Filters:
    """Conditions that must all hold; None and empty conditions are ignored.

    Attributes
    ----------
    path
        Pattern that one of the picture's paths, as shown, must match from start to end: ``*`` stands for any
        characters, including ``/``, ``?`` for one character, ``[a-z]`` for one of a set. Upper and lower case are the
        same.
    since, until
        First and last date (``2019``, ``2019-05``, ``2019-05-31``) on which the picture was taken. For a picture
        without such a date, the date of the file's last change counts.
    camera
        Part of the make and model, or a pattern for all of it.
    formats
        Formats by Pillow's names: ``JPEG``, ``PNG`` …
    min_size
        Least width and height in pixels.
    labels
        Labels, of which the picture must have at least one.
    near
        Place where the picture was taken.
    raw
        Query in Elasticsearch's own language.
    """

    path: str | None = None
    since: str | None = None
    until: str | None = None
    camera: str | None = None
    formats: tuple[str, ...] = ()
    min_size: int | None = None
    labels: tuple[str, ...] = ()
    near: Place | None = None
    raw: dict[str, Any] | None = None

    def clauses(self) -> list[dict[str, Any]]:
        """Return Elasticsearch queries, one for each condition.

        Raises
        ------
        QueryError
            When a pattern or a date is invalid.
        """
        clauses: list[dict[str, Any]] = []
        if self.path is not None:
            clauses.append(_pattern("paths", self.path))
        if self.since is not None or self.until is not None:
            clauses.append(_dated(self.since, self.until))
        if self.camera is not None:
            whole = any(sign in self.camera for sign in "*?[")
            clauses.append(_pattern("camera", self.camera if whole else f"*{self.camera}*"))
        if self.formats:
            names = [name.upper() for name in self.formats]
            clauses.append({"terms": {"format": [_ALIASES.get(name, name) for name in names]}})
        if self.min_size is not None:
            clauses += [{"range": {side: {"gte": self.min_size}}} for side in ("width", "height")]
        if self.labels:
            clauses.append({"terms": {"labels": list(self.labels)}})
        if self.near is not None:
            point = {"lat": self.near.latitude, "lon": self.near.longitude}
            clauses.append({"geo_distance": {"distance": f"{self.near.radius}km", "location": point}})
        if self.raw is not None:
            clauses.append(self.raw)
        return clauses

    def described(self) -> list[str]:
        """Say each condition in one line, such as ``camera: Canon``."""
        lines = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None or value == ():
                continue
            if isinstance(value, Place):
                value = f"{value.latitude},{value.longitude},{value.radius} (km)"
            elif isinstance(value, tuple):
                value = ", ".join(value)
            elif isinstance(value, dict):
                value = json.dumps(value, ensure_ascii=False)
            lines.append(f"{each.name.replace('_', ' ')}: {value}")
        return lines


def period(text: str) -> tuple[dt.date, dt.date]:
    """Return the first day of a year, month or day, and the day after its last.

    Raises
    ------
    QueryError
        When the text is not a date.
    """
    found = _DATE.fullmatch(text.strip())
    year, month, day = (int(part) if part else None for part in found.groups()) if found else (0, None, None)
    try:
        first = dt.date(year or 0, month or 1, day or 1)
        last_month = month or 12
        last = dt.date(first.year, last_month, day or calendar.monthrange(first.year, last_month)[1])
        return first, last + dt.timedelta(days=1)
    except (ValueError, OverflowError):
        raise QueryError(
            f"'{text}' is not a date: give a year, month or day, such as 2019, 2019-05 or 2019-05-31."
        ) from None


def _dated(since: str | None, until: str | None) -> dict[str, Any]:
    limits: dict[str, str] = {}
    if since is not None:
        limits["gte"] = period(since)[0].isoformat()
    if until is not None:
        limits["lt"] = period(until)[1].isoformat()
    if "gte" in limits and "lt" in limits and limits["gte"] >= limits["lt"]:
        raise QueryError(f"No picture can match: the first date, {since}, is after the last date, {until}. Swap them.")
    taken = {"range": {"taken_at": limits}}
    changed = {
        "bool": {
            "must_not": [{"exists": {"field": "taken_at"}}],
            "filter": [{"range": {"modified_at": limits}}],
        }
    }
    return {"bool": {"should": [taken, changed], "minimum_should_match": 1}}


def _pattern(field: str, pattern: str) -> dict[str, Any]:
    if "[" not in pattern:  # the cheaper query knows only * and ?
        value = pattern.replace("\\", "\\\\")
        return {"wildcard": {field: {"value": value, "case_insensitive": True}}}
    return {"regexp": {field: {"value": _regular_expression(pattern), "flags": "NONE", "case_insensitive": True}}}


def _regular_expression(pattern: str) -> str:
    """Return Lucene's regular expression for a pattern with ``*``, ``?`` and ``[…]``."""
    parts = []
    rest = pattern
    while rest:
        sign, rest = rest[0], rest[1:]
        if sign == "*":
            parts.append(".*")
        elif sign == "?":
            parts.append(".")
        elif sign == "[":
            inside, closed, rest = rest.partition("]")
            negated, members = inside.startswith("!"), inside.removeprefix("!")
            if not closed or not members:
                raise QueryError(
                    f"The pattern '{pattern}' has a '[' without a ']'. To match the character '[' itself, write [[]."
                )
            escaped = re.sub(r"[\[\]\\^\"]", r"\\\g<0>", members)
            parts.append(f"[{'^' if negated else ''}{escaped}]")
        else:
            parts.append(_SPECIAL.sub(r"\\\g<0>", sign))
    return "".join(parts)
