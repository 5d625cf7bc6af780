"""Rank seized pictures by similarity to a few reference pictures.

Example
-------
::

    import simquery

    with simquery.open_case("fraud-7", model="mini") as case:
        case.index("/mnt/evidence")
        for hit in case.query("knife.jpg", distance="modified", k=50):
            print(hit.rank, hit.distance, hit.paths[0])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simquery.version import __version__

if TYPE_CHECKING:
    from simquery.case import Case, open_case
    from simquery.errors import SimqueryError
    from simquery.evaluation.session import evaluate
    from simquery.query import Place
    from simquery.settings import Settings, load_settings
    from simquery.status import cluster_status

__all__ = [
    "Case",
    "Place",
    "Settings",
    "SimqueryError",
    "__version__",
    "cluster_status",
    "evaluate",
    "load_settings",
    "open_case",
]

_HOMES = {
    "Case": "case",
    "Place": "query",
    "Settings": "settings",
    "SimqueryError": "errors",
    "cluster_status": "status",
    "evaluate": "evaluation.session",
    "load_settings": "settings",
    "open_case": "case",
}
"""The module that defines each public name. It is imported on first use, so that a command loads only what it needs."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'simquery' has no attribute '{name}'")
    return getattr(import_module(f"simquery.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
