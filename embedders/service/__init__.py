"""A network that stays in memory between queries: a process of the user's own, reached through a local socket.

The first query that needs the network starts it; it ends by itself when nobody has asked for a while
(``SIMQUERY_KEEP_WARM``), and with ``simquery down``. Where it cannot be had, the network is built as it is without it.
"""

from simquery.embedders.service.client import Service, running_services, stop_services, warm_embedder

__all__ = ["Service", "running_services", "stop_services", "warm_embedder"]
