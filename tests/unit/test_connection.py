"""The connection to the cluster, against servers on loopback that behave badly."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elastic_transport import ConnectionTimeout, TlsError
from pydantic import AnyHttpUrl, SecretStr

from simquery.cluster import connect
from simquery.cluster.patience import Hindrance, Patience, Waiting
from simquery.cluster.room import scarce_room
from simquery.errors import ClusterUnreachableError, SettingsError
from simquery.node.certificate import make_certificate
from simquery.settings import Settings
from tests.stranger import Stranger

_INFO = b'{"version": {"number": "9.4.3"}}'
WELCOME = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_INFO) + _INFO
)
_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n"


@contextmanager
def dripping(beginning: bytes) -> Iterator[Settings]:
    """A server that sends the beginning of an answer, and then a byte each tenth of a second."""
    ended = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)

    def serve() -> None:
        caller, _ = server.accept()
        with caller:
            caller.recv(65536)
            caller.sendall(beginning)
            while not ended.wait(0.1):
                try:
                    caller.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Settings(url=AnyHttpUrl(f"http://127.0.0.1:{server.getsockname()[1]}"), timeout=0.5)
    finally:
        ended.set()
        thread.join()
        server.close()


@pytest.mark.parametrize("beginning", [_HEADERS + b"Content-Length: 1000\r\n\r\n{", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up_after_the_timeout(beginning: bytes) -> None:
    with dripping(beginning) as settings, pytest.raises(ClusterUnreachableError, match="in time") as raised:
        connect(settings)
    assert isinstance(raised.value.__cause__, ConnectionTimeout)


def test_a_server_that_ends_during_a_handshake_is_waited_for_and_a_stranger_on_its_port_is_not(tmp_path: Path) -> None:
    pair = make_certificate()
    (tmp_path / "node.crt").write_text(pair[1])
    with Stranger(certificate=pair, answer=WELCOME) as server:
        url = AnyHttpUrl(f"https://127.0.0.1:{server.port}")
        with connect(Settings(url=url, ca_file=tmp_path / "node.crt")) as client:
            server.hang_up_next = 2
            assert client.info()["version"]["number"] == "9.4.3"
            assert server.hang_up_next == 0
            server.present(make_certificate())
            with pytest.raises(TlsError):
                client.info()


def test_an_api_key_with_foreign_letters_is_a_setting_that_cannot_be_used() -> None:
    settings = Settings(url=AnyHttpUrl("http://127.0.0.1:9"), api_key=SecretStr("schlüssel"))
    with pytest.raises(SettingsError, match="SIMQUERY_API_KEY"):
        connect(settings)


def test_user_and_password_may_have_any_letters() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[bytes] = []

        def serve() -> None:
            with server.accept()[0] as caller:
                asked.append(caller.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        url = AnyHttpUrl(f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ClusterUnreachableError):
            connect(Settings(url=url, username="zoë", password=SecretStr("пароль")))
        thread.join()
    assert b"authorization: Basic em/DqzrQv9Cw0YDQvtC70Yw=" in asked[0]


@pytest.mark.parametrize(
    ("status", "body", "hindrance"),
    [
        (200, {}, None),
        (401, None, Hindrance.STARTING),
        (403, {"error": "not allowed"}, None),
        (404, "No space left on device", None),
        (429, {"error": {"type": "es_rejected_execution_exception"}}, Hindrance.AWAY),
        (429, {"error": {"reason": "disk usage exceeded flood-stage watermark"}}, Hindrance.FULL),
        (500, {"error": {"reason": "java.io.IOException: No space left on device"}}, Hindrance.FULL),
        (500, {"error": {"type": "script_exception"}}, None),
        (503, "", Hindrance.AWAY),
    ],
)
def test_what_can_pass_is_told_from_what_is_final(status: int, body: object, hindrance: Hindrance | None) -> None:
    assert Hindrance.of(status, body) is hindrance


def test_a_run_waits_longest_for_room_and_less_for_its_credentials() -> None:
    patience = Patience.of_a_run(900.0)
    limits = [patience.limit(hindrance) for hindrance in (Hindrance.STARTING, Hindrance.AWAY, Hindrance.FULL)]
    assert limits == sorted(set(limits))


def test_a_server_that_falls_silent_with_a_full_disk_is_waited_for_as_long_as_for_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    waiting = Waiting(Patience(seconds=0.0, room_seconds=60.0))
    assert not waiting.again(Hindrance.AWAY, "away")
    assert waiting.again(Hindrance.FULL, "No room.")
    assert waiting.again(Hindrance.AWAY, "away")
    assert caplog.messages == ["No room. Waiting for at most 60 seconds; nothing is lost."]


def test_the_full_disk_is_named_with_what_it_needs() -> None:
    disks = [
        {"path": "/full", "available_in_bytes": 1 << 28, "high_watermark_free_space_in_bytes": 1 << 30},
        {"path": "/free", "available_in_bytes": 1 << 31, "high_watermark_free_space_in_bytes": 1 << 30},
    ]
    said = scarce_room({"nodes": {"a": {"name": "node-1", "fs": {"data": disks}}}})
    assert said is not None
    assert "/full of node 'node-1' has 0.25 GiB free and needs more than 1.00 GiB" in said
    assert "/free" not in said


def test_disks_with_room_are_not_complained_of() -> None:
    disk = {"path": "/free", "available_in_bytes": 1 << 31, "high_watermark_free_space_in_bytes": 1 << 30}
    assert scarce_room({"nodes": {"a": {"name": "node-1", "fs": {"data": [disk]}}}}) is None
    assert scarce_room({}) is None
