"""Which distances there are: simquery's own, and those of installed packages.

A package adds one through the entry point group ``simquery.distances``: the name of the entry point is that of the
distance, its object a `Distance` subclass that is built without arguments.
"""

from simquery.distances.braycurtis import BrayCurtis
from simquery.distances.cosine import Cosine
from simquery.distances.distance import Distance
from simquery.distances.euclidean import Euclidean
from simquery.distances.manhattan import Manhattan
from simquery.distances.modified import Modified
from simquery.distances.pearson import Pearson
from simquery.errors import QueryError

__all__ = ["DISTANCES", "ENTRY_POINTS", "find_distance"]

ENTRY_POINTS = "simquery.distances"

DISTANCES: dict[str, Distance] = {
    distance.name: distance for distance in (Cosine(), Euclidean(), Manhattan(), Modified(), Pearson(), BrayCurtis())
}
"""simquery's own distances by their names: the thesis' four, and two more."""


def find_distance(name: str) -> Distance:
    """Return the distance with a name or alias, in any case of letters.

    Raises
    ------
    QueryError
        When there is none, or a package's distance cannot be loaded.
    """
    name = name.lower()
    for distance in DISTANCES.values():
        if name in {distance.name, *distance.aliases}:
            return distance
    from importlib.metadata import entry_points  # noqa: PLC0415  (reading what is installed takes a while)

    plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in plugins:
        raise QueryError(f"There is no distance '{name}'. There are: {', '.join([*DISTANCES, *sorted(plugins)])}.")
    try:
        distance = plugins[name].load()()
    except Exception as error:  # somebody else's code: whatever it raises is about this distance alone
        raise QueryError(f"Distance '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(distance, Distance) or distance.name != name:
        raise QueryError(f"Distance '{name}' is no simquery.distances.Distance of that name.")
    return distance
