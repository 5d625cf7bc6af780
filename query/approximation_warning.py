"""The warning about an approximate ranking whose graph compares by another similarity than the query's distance."""

from collections.abc import Mapping

__all__ = ["foreign_graph_warning"]

_MEASURED = {("cosine", "euclidean"): (0.97, 0.76), ("cosine", "manhattan"): (0.92, 0.42)}
"""Mean and least share of the exact first 50 hits that a graph found on 9,143 photographs of Caltech-101 (MobileNetV2),
by the graph's similarity and the distance."""


def foreign_graph_warning(distance: str, graph: str, measured: Mapping[str, float] | None) -> str:
    """Return the warning about what such a ranking misses.

    Parameters
    ----------
    distance
        Name of the query's distance.
    graph
        Similarity by which the case's graph compares.
    measured
        Recall that `simquery recall --store` measured on this case: ``k``, ``mean`` and ``least``; None if it has not.
    """
    if measured:
        k, mean, least = int(measured["k"]), measured["mean"], measured["least"]
        known = f"on this case it found {mean:.2f} of the first {k} hits on average and {least:.2f} at worst"
    elif (graph, distance) in _MEASURED:
        mean, least = _MEASURED[graph, distance]
        known = f"on 9,143 photographs it found {mean:.2f} of the first 50 hits on average and {least:.2f} at worst"
    else:
        known = "how many it finds has not been measured; 'simquery recall' does that"
    return (
        f"Hits may be missing: the case's graph compares by {graph}, not by {distance}; {known}. Exact mode"
        " misses none."
    )
