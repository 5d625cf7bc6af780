"""The local node: a single Elasticsearch on loopback that simquery fetches, starts and stops by itself."""

from simquery.node.local import LocalNode, NodeStatus

__all__ = ["LocalNode", "NodeStatus"]
