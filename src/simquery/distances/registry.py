"""The available distances: simquery's own, and those of installed packages.

A package adds a distance through the entry point group ``simquery.distances``: the entry point has the name of the
distance, and its object is a `Distance` subclass that is built without arguments.
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
"""simquery's own distances by name: the four in the thesis, and two more."""


def find_distance(name: str) -> Distance:
    """Return the distance with a name or alias; upper and lower case are the same.

    Raises
    ------
    QueryError
        When there is no such distance, or when it belongs to a package and cannot be loaded.
    """
    name = name.lower()
    for distance in DISTANCES.values():
        if name in {distance.name, *distance.aliases}:
            return distance
    from importlib.metadata import entry_points  # noqa: PLC0415  (reading what is installed takes a while)

    plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in plugins:
        raise QueryError(f"There is no distance '{name}'. Choose from: {', '.join([*DISTANCES, *sorted(plugins)])}.")
    try:
        distance = plugins[name].load()()
    except Exception as error:  # third-party code may raise anything; it concerns this distance alone
        raise QueryError(f"Distance '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(distance, Distance) or distance.name != name:
        raise QueryError(f"Distance '{name}' is not a simquery.distances.Distance of that name.")
    return distance
