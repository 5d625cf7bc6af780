"""A network that stays in memory between queries, in a process of the user's own behind a local socket.

The first query that needs the network starts the process. It ends after ``SIMQUERY_KEEP_WARM`` seconds without a
query, or with ``simquery down``. Where it cannot run, the query builds the network itself.
"""

from simquery.embedders.service.client import Service, running_services, stop_services, warm_embedder

__all__ = ["Service", "running_services", "stop_services", "warm_embedder"]
