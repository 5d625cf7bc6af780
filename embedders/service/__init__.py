"""A network that stays in memory between queries, in a separate process of the same user behind a local socket.

The first query that needs the network starts the process. The process ends after ``SIMQUERY_KEEP_WARM`` seconds
without a query, or with ``simquery down``. If it cannot start, the query builds the network itself.
"""

from simquery.embedders.service.client import Service, running_services, stop_services, warm_embedder

__all__ = ["Service", "running_services", "stop_services", "warm_embedder"]
