"""The Elasticsearch cluster that pictures are stored in and queried from."""

from simquery.cluster.client import FOREIGN_ERRORS, connect, explain, translated_errors

__all__ = ["FOREIGN_ERRORS", "connect", "explain", "translated_errors"]
