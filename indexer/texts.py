"""Texts cut to fit into the index: Elasticsearch refuses a document with a keyword that is too long."""

from typing import Any

__all__ = ["fitting", "with_fitting_texts"]

_LONGEST = 8_000
"""Characters: at most 32,000 bytes in UTF-8, and Lucene takes 32,766."""


def fitting(text: str) -> str:
    """Return a text, cut if it is too long for a keyword field; lone surrogates, which are invalid, are escaped."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"


def with_fitting_texts(document: dict[str, Any], *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a document with all its texts cut to fit into keyword fields, except for the fields in ``without``."""
    return {name: value if name in without else _fitting(value) for name, value in document.items()}


def _fitting(value: Any) -> Any:
    if isinstance(value, str):
        return fitting(value)
    return [_fitting(each) for each in value] if isinstance(value, list) else value
