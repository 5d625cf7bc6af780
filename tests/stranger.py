"""A program on the node's port: another user's program that listens for secrets, or a server that misbehaves."""

import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: 0\r\n\r\n"


class Stranger:
    """Listens on a port of loopback, records what it hears, and asks for credentials as Elasticsearch does.

    Parameters
    ----------
    port
        The port; 0 for any free one.
    certificate
        Key and certificate (PEM) to speak TLS with; None for plain HTTP.
    answer
        What it answers to each request.
    """

    def __init__(self, port: int = 0, certificate: tuple[str, str] | None = None, answer: bytes = UNAUTHORIZED) -> None:
        self._listener = _listener(port)
        self.port: int = self._listener.getsockname()[1]
        self.heard = b""
        self.connections = 0
        self.hang_up_next = 0
        """How many connections to end as soon as something was heard."""
        self._answer = answer
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self.present(certificate)
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends the waiting accept
        self._thread.join()
        self._listener.close()

    def present(self, certificate: tuple[str, str]) -> None:
        """Speak TLS with this key and certificate from now on."""
        self._context = _context(*certificate)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with suppress(OSError), connection:
                    connection.settimeout(10)
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if self.hang_up_next:
            self.hang_up_next -= 1
            connection.recv(65536)
        elif self._context is not None:
            with self._context.wrap_socket(connection, server_side=True) as secure:
                self._hear(secure)
        else:
            self._hear(connection)

    def _hear(self, connection: socket.socket) -> None:
        self.heard += connection.recv(65536)
        connection.sendall(self._answer)


def _listener(port: int) -> socket.socket:
    """Take the port, as soon as the system has closed the sockets of a server that was just killed."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for attempt in reversed(range(200)):
        try:
            listener.bind(("127.0.0.1", port))
            break
        except OSError:
            if not attempt:
                listener.close()
                raise
            threading.Event().wait(0.05)
    listener.listen()
    return listener


def _context(key: str, certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "key").write_text(key)
        (Path(folder) / "certificate").write_text(certificate)
        context.load_cert_chain(Path(folder) / "certificate", Path(folder) / "key")
    return context
