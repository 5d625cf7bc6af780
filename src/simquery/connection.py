"""Connection to the cluster in the settings, or else to the local node."""

from elasticsearch import Elasticsearch

from simquery.cluster import connect
from simquery.node import LocalNode
from simquery.settings import Settings

__all__ = ["open_cluster"]


def open_cluster(settings: Settings, *, as_administrator: bool = False) -> Elasticsearch:
    """Connect to the cluster that the settings name, or to the local node if they name none.

    Parameters
    ----------
    settings
        The settings.
    as_administrator
        Whether to connect to the local node as its administrator, who may delete indices, instead of with the key for
        everyday work.

    Raises
    ------
    ClusterUnreachableError
        When the settings name no cluster and the local node is not running.
    ClusterError
        When the cluster cannot be used; see `simquery.cluster.connect`.
    """
    if settings.url is None:
        node = LocalNode(settings)
        settings = node.administration() if as_administrator else node.connection()
    return connect(settings)
