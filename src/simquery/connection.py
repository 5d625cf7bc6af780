"""Connection to the cluster in the settings, or else to the local node."""

from elasticsearch import Elasticsearch

from simquery.cluster import connect
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
    return connect(settings if settings.url is not None else LocalNode(settings).connection())
