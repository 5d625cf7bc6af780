"""Options that take one of several names."""

from enum import StrEnum
from typing import TypeVar

from simquery.errors import QueryError

__all__ = ["choice"]

Kind = TypeVar("Kind", bound=StrEnum)


def choice(kind: type[Kind], name: str, what: str) -> Kind:
    """Return the member of an enumeration with a given name.

    Parameters
    ----------
    kind
        The enumeration.
    name
        The name that the user gave.
    what
        What to call the members in the message, such as "distance".

    Raises
    ------
    QueryError
        When there is no such member; the message lists all members.
    """
    try:
        return kind(name)
    except ValueError:
        raise QueryError(f"There is no {what} '{name}'. Choose from: {', '.join(kind)}.") from None
