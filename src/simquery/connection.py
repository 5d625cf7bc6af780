"""The cluster that commands and cases work with: the one in the settings, or else the local node."""

from elasticsearch import Elasticsearch
from pydantic import AnyHttpUrl

from simquery.cluster import connect
from simquery.errors import ClusterUnreachableError
from simquery.node import LocalNode
from simquery.settings import Settings

__all__ = ["open_cluster"]


def open_cluster(settings: Settings) -> Elasticsearch:
    """Connect to the cluster that the settings name, or to the local node if they name none.

    Raises
    ------
    ClusterUnreachableError
        When the settings name no cluster and the local node is not running.
    ClusterError
        When the cluster cannot be used; see `simquery.cluster.connect`.
    """
    if settings.url is not None:
        return connect(settings)
    node = LocalNode(settings)
    status = node.status()
    if status.url is None:
        raise ClusterUnreachableError(
            "The local node is not running: start it with 'simquery up', or set SIMQUERY_URL."
        )
    username, password = node.credentials()
    own = {"url": AnyHttpUrl(status.url), "username": username, "password": password, "api_key": None}
    return connect(settings.model_copy(update=own))
