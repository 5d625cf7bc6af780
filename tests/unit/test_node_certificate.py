"""The node's certificate, and what a stranger on its port learns: nothing."""

import os
import socket
import ssl
import threading
from contextlib import suppress
from itertools import accumulate, islice, takewhile
from pathlib import Path

import pytest
from cryptography import x509

from simquery.errors import NodeError
from simquery.node.account import Account
from simquery.node.certificate import ensure_certificate, make_certificate
from simquery.node.health import LONGEST_PAUSE, PasswordRefusedError, ask, node_client, pauses, wait_until_ready
from tests.stranger import Stranger

ME = Account(os.geteuid(), os.getegid())
SECRET = "very-secret"


def write(folder: Path, pair: tuple[str, str]) -> Path:
    (folder / "node.crt").write_text(pair[1])
    return folder / "node.crt"


# The certificate


def test_it_names_loopback_and_can_vouch_for_no_other_certificate() -> None:
    certificate = x509.load_pem_x509_certificate(make_certificate()[1].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_is_closed_and_the_pair_is_kept(tmp_path: Path) -> None:
    key, certificate = tmp_path / "node.key", tmp_path / "node.crt"
    ensure_certificate(key, certificate, ME)
    assert key.stat().st_mode & 0o777 == 0o600
    assert certificate.stat().st_mode & 0o777 == 0o644
    before = key.read_bytes(), certificate.read_bytes()
    ensure_certificate(key, certificate, ME)
    assert (key.read_bytes(), certificate.read_bytes()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_servers_user_owns_the_key_and_root_the_certificate(tmp_path: Path) -> None:
    ensure_certificate(tmp_path / "node.key", tmp_path / "node.crt", Account(60950, 60951))
    assert ((tmp_path / "node.key").stat().st_uid, (tmp_path / "node.key").stat().st_gid) == (60950, 60951)
    assert (tmp_path / "node.crt").stat().st_uid == 0


@pytest.mark.parametrize("lost", ["node.key", "node.crt"])
@pytest.mark.parametrize("content", [None, "", "of another pair"])
def test_a_pair_that_a_crash_has_torn_is_made_again(tmp_path: Path, lost: str, content: str | None) -> None:
    key, certificate = tmp_path / "node.key", tmp_path / "node.crt"
    ensure_certificate(key, certificate, ME)
    (tmp_path / lost).unlink()
    if content is not None:
        other = make_certificate()[lost == "node.crt"]
        (tmp_path / lost).write_text(other if content else "")
    ensure_certificate(key, certificate, ME)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


# Strangers on the port


def test_the_stranger_would_hear_a_password_from_who_trusts_it(tmp_path: Path) -> None:
    """Without this check, the tests below would pass even if the stranger recorded nothing."""
    pair = make_certificate()
    with (
        Stranger(certificate=pair) as stranger,
        node_client(f"https://127.0.0.1:{stranger.port}", write(tmp_path, pair), "elastic", SECRET) as client,
        pytest.raises(PasswordRefusedError),
    ):
        ask(client)
    assert b"authorization: basic" in stranger.heard.lower()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_stranger_on_the_port_hears_no_password(tmp_path: Path, tls: bool) -> None:
    certificate = write(tmp_path, make_certificate())
    with (
        Stranger(certificate=make_certificate() if tls else None) as stranger,
        node_client(f"https://127.0.0.1:{stranger.port}", certificate, "elastic", SECRET) as client,
    ):
        assert ask(client) is None
    assert stranger.connections == 1
    assert b"authorization" not in stranger.heard.lower()


def test_a_server_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simquery.node.health.SECONDS_FOR_ANSWER", 0.2)
    dripped_all = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a TLS record of 16 KiB follows, one byte at a time
            for _ in range(1000):
                connection.sendall(b"\x02")
                threading.Event().wait(0.02)
            dripped_all.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        with node_client(url, write(tmp_path, make_certificate()), "elastic", SECRET) as client:
            assert ask(client) is None
        thread.join()
    assert not dripped_all.is_set()


# The wait


class Ended:
    """A server that has ended without a message."""

    def running(self) -> bool:
        return False

    def failed(self) -> bool:
        return True

    def detach(self) -> None: ...

    def pid(self) -> int | None: ...

    def stop(self) -> None: ...

    def output(self) -> str:
        return ""


def test_a_server_that_ends_without_a_word_is_told_with_where_to_read_more(tmp_path: Path) -> None:
    with (
        node_client("https://127.0.0.1:1", write(tmp_path, make_certificate()), "elastic", SECRET) as client,
        pytest.raises(NodeError, match=r"(?s)without an error message.*More is in the log\."),
    ):
        wait_until_ready(client, Ended(), lambda: None, "More is in the log.")


def test_a_server_that_takes_its_time_is_looked_at_less_and_less_often() -> None:
    looks = list(takewhile(lambda moment: moment < 30, accumulate(pauses())))
    assert len(looks) < 25
    assert all(pause <= LONGEST_PAUSE for pause in islice(pauses(), 100))
