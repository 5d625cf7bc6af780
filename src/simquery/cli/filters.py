"""Options that limit a query to some pictures of a case."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from simquery.errors import QueryError
from simquery.query import Place

__all__ = ["filter_options"]


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options to a command, which gets them in ``filters`` under the names of `QueryOptions`."""

    @click.option("--path", metavar="GLOB", help="Only paths that match; * also matches '/': '*/DCIM/*.jpg'.")
    @click.option("--since", metavar="DATE", help="Only pictures from this date on: 2019, 2019-05 or 2019-05-31.")
    @click.option("--until", metavar="DATE", help="Only pictures up to and including this date.")
    @click.option("--camera", metavar="TEXT", help="Only pictures whose camera make or model contains TEXT.")
    @click.option(
        "--format", "formats", metavar="NAME", multiple=True, help="Only this format, such as JPEG or PNG; repeatable."
    )
    @click.option(
        "--min-size", metavar="PIXELS", type=click.IntRange(1), help="Only pictures at least this wide and high."
    )
    @click.option("--label", "labels", metavar="NAME", multiple=True, help="Only pictures with this label; repeatable.")
    @click.option("--near", metavar="LAT,LON,KM", help="Only pictures taken within KM of this place.")
    @click.option(
        "--filter",
        "raw",
        metavar="JSON",
        help="Only pictures that match this Elasticsearch query, or the one in @FILE.",
    )
    @functools.wraps(function)
    def with_filters(*, near: str | None, raw: str | None, **arguments: Any) -> None:
        names = ("path", "since", "until", "camera", "formats", "min_size", "labels")
        filters = {name: arguments.pop(name) for name in names}
        filters["near"] = None if near is None else Place.parse(near)
        filters["raw"] = _raw(raw)
        function(filters=filters, **arguments)

    return with_filters


def _raw(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        query = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except OSError as error:
        raise QueryError(f"The filter '{text}' cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise QueryError(f"The filter is not valid JSON: {error}.") from None
    if not isinstance(query, dict):
        raise QueryError("The filter is not an Elasticsearch query: it must be a JSON object.")
    return query
