"""The transport of the Elasticsearch client: wait for a server that is away, but not for a trickling answer."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import elastic_transport
import urllib3
from elastic_transport import NodeConfig, Transport, TransportApiResponse, Urllib3HttpNode

from simquery.cluster.patience import NO_WAITING, Hindrance, Waiting, patience
from simquery.cluster.room import FS_STATS, NO_ROOM, scarce_room

__all__ = ["PunctualNode", "WaitingTransport"]


_TOO_MANY = 429


class WaitingTransport(Transport):
    """Repeat a request while the cluster cannot answer it, once the cluster has accepted the credentials.

    Before that, a cluster that is away or refuses the credentials is an error at once. A request may reach the server
    twice when its answer was lost; simquery only makes requests for which this does no harm.
    """

    _let_in = False

    def perform_request(self, method: str, target: str, **options: Any) -> TransportApiResponse:
        """Return the answer to a request, or raise the error of the last attempt."""
        waiting = Waiting(patience.get() if self._let_in else NO_WAITING)
        while True:
            try:
                answer = super().perform_request(method, target, **options)
            except (elastic_transport.ConnectionError, elastic_transport.ConnectionTimeout) as error:
                if isinstance(error, elastic_transport.TlsError) and not _hung_up(error):
                    raise
                if not waiting.again(*self._examined(Hindrance.AWAY, _unreached(error), options)):
                    raise
                continue
            hindrance = Hindrance.of(answer.meta.status, answer.body)
            if hindrance is None:
                self._let_in = True
                waiting.over()
                return answer
            if not self._let_in or not waiting.again(*self._described(hindrance, answer.meta.status, options)):
                return answer

    def _described(self, hindrance: Hindrance, status: int, options: Mapping[str, Any]) -> tuple[Hindrance, str]:
        if hindrance is Hindrance.STARTING:
            return hindrance, "The cluster refuses credentials that it accepted before, as a restarted server does"
        said = f"The cluster cannot do this now (HTTP status {status}; see whether its disks have room)"
        busy = hindrance is Hindrance.AWAY and status == _TOO_MANY
        return (hindrance, said) if busy else self._examined(hindrance, said, options)

    def _examined(self, hindrance: Hindrance, said: str, options: Mapping[str, Any]) -> tuple[Hindrance, str]:
        """Return the hindrance after checking the disks: shards on a full disk are away, or answer too late."""
        if not self._let_in:
            return hindrance, said
        try:
            stats = super().perform_request("GET", FS_STATS, headers=options.get("headers", {}), request_timeout=5.0)
        except elastic_transport.TransportError:
            return hindrance, said
        full = scarce_room(stats.body if isinstance(stats.body, dict) else {})
        if full or hindrance is Hindrance.FULL:
            return Hindrance.FULL, full or f"{NO_ROOM}. Make room on its data paths"
        return hindrance, said


def _hung_up(error: elastic_transport.TlsError) -> bool:
    """Return whether the peer merely closed the connection, as a server that is killed during the handshake does."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, ssl.SSLEOFError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _unreached(error: Exception) -> str:
    return f"The cluster cannot be reached ({str(error).rstrip('.')})"


class PunctualNode(Urllib3HttpNode):
    """End a request whose whole answer has not arrived within its timeout.

    Without this, the timeout starts again with every byte, so a server that sends one byte now and then would never
    time out.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool.ConnectionCls = _PunctualTlsConnection if config.scheme == "https" else _PunctualConnection


class _PunctualConnection(urllib3.connection.HTTPConnection):
    def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]
        late = threading.Event()
        connected = self.sock

        def cut() -> None:
            late.set()
            with contextlib.suppress(OSError):  # it has been closed in the meantime
                # Not the SSL socket's method, which would remove the encryption under the thread that is reading.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

        clock = threading.Timer(float(self.timeout or 0), cut)
        clock.daemon = True
        if self.timeout:
            clock.start()
        try:
            answer = super().getresponse()
        except Exception:
            if late.is_set():
                raise TimeoutError("the whole answer did not come in time") from None
            raise
        finally:
            clock.cancel()
        if late.is_set():
            raise TimeoutError("the whole answer did not come in time")
        return answer


class _PunctualTlsConnection(_PunctualConnection, urllib3.connection.HTTPSConnection):
    pass
