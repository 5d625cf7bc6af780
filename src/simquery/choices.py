"""Names that users give for one of several possibilities."""

from enum import StrEnum
from typing import TypeVar

from simquery.errors import QueryError

__all__ = ["choice"]

Kind = TypeVar("Kind", bound=StrEnum)


def choice(kind: type[Kind], name: str, what: str) -> Kind:
    """Return the member of an enumeration that has a name.

    Parameters
    ----------
    kind
        The enumeration.
    name
        What the user wrote.
    what
        What the members are called, for the message.

    Raises
    ------
    QueryError
        When there is no such member; the message lists them all.
    """
    try:
        return kind(name)
    except ValueError:
        raise QueryError(f"There is no {what} '{name}'. There are: {', '.join(kind)}.") from None
