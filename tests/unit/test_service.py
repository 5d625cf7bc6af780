"""A network kept warm: a real process, a real socket, the network that ships."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from simquery.embedders import build_embedder
from simquery.embedders.service import running_services, stop_services, warm_embedder
from simquery.embedders.service.client import ServedEmbedder
from simquery.errors import WeightsError
from simquery.settings import Settings
from tests.conftest import pixels


@pytest.fixture
def settings(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("s")))  # the path of a socket must be short
    settings = Settings(home=tmp_path / "home", model="mini", keep_warm=120)
    yield settings
    stop_services(settings)


def eventually(holds: Callable[[], bool]) -> bool:
    latest = time.monotonic() + 60
    while not holds() and time.monotonic() < latest:
        time.sleep(0.05)
    return holds()


def test_the_second_query_finds_the_network_of_the_first(settings: Settings) -> None:
    batch = np.stack([pixels(seed, 112, 112) for seed in range(3)])
    first = warm_embedder(settings)
    assert isinstance(first, ServedEmbedder)
    own = build_embedder(settings)
    assert (first.name, first.dims, first.input_size) == (own.name, own.dims, own.input_size)
    assert first.fingerprint == own.fingerprint
    np.testing.assert_allclose(first.embed(batch), own.embed(batch), rtol=1e-4, atol=1e-5)
    (before,) = running_services(settings)
    warm_embedder(settings)
    (after,) = running_services(settings)
    assert (before.model, before.pid) == (after.model, after.pid) == ("mini", after.pid)
    assert after.answered > before.answered

    with socket.socket(socket.AF_UNIX) as stranger:  # nonsense does it no harm
        stranger.connect(str(next(Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.sock"))))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    np.testing.assert_allclose(first.embed(batch[:1]), own.embed(batch[:1]), rtol=1e-4, atol=1e-5)

    os.kill(after.pid, signal.SIGKILL)  # and when it has died, the next query starts another
    assert eventually(lambda: not running_services(settings))
    assert warm_embedder(settings).embed(batch).shape == (3, own.dims)
    assert stop_services(settings) == 1
    assert running_services(settings) == []


def test_a_network_ends_when_nobody_asks(settings: Settings) -> None:
    warm_embedder(settings.model_copy(update={"keep_warm": 0.2}))
    assert eventually(lambda: not list(Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.sock")))


def test_a_network_that_ends_leaves_the_socket_of_its_successor(settings: Settings) -> None:
    """Somebody removed the socket of the first, so the next query started a second in its place."""
    warm_embedder(settings.model_copy(update={"keep_warm": 3.0}))
    (first,) = running_services(settings)
    (path,) = Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.sock")
    path.unlink()
    warm_embedder(settings)
    (second,) = running_services(settings)
    assert second.pid != first.pid
    assert eventually(lambda: not Path(f"/proc/{first.pid}/exe").exists())
    assert [service.pid for service in running_services(settings)] == [second.pid]


def test_why_a_network_cannot_be_built_is_said_as_without_it(settings: Settings, tmp_path: Path) -> None:
    missing = {"own": str(tmp_path / "missing.keras")}
    with pytest.raises(WeightsError, match=r"missing\.keras"):
        warm_embedder(settings.model_copy(update={"model": "own", "embedders": missing}))


def test_a_folder_that_others_can_enter_is_not_trusted(settings: Settings) -> None:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / f"simquery-{os.geteuid()}"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    embedder = warm_embedder(settings)
    assert not isinstance(embedder, ServedEmbedder)
    assert embedder.name == "mini"


def test_the_process_knows_no_password(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMQUERY_PASSWORD", "hunter2")
    warm_embedder(settings)
    (service,) = running_services(settings)
    assert b"hunter2" not in Path(f"/proc/{service.pid}/environ").read_bytes()
    assert b"hunter2" not in Path(f"/proc/{service.pid}/cmdline").read_bytes()


def test_the_server_module_says_why_it_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simquery.embedders.service.server", str(tmp_path / "s.sock")],
        input='{"model": "nothing-like-it"}', capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '"error": "UnknownModelError"' in done.stdout
    assert done.returncode == 4
