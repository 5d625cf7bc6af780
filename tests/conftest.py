"""Fixtures that all tests share: generated pictures, settings without the user's, no thread left behind."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = SHARED / "weights"
PHOTOS = SHARED / "data" / "caltech101"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("SIMQUERY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIMQUERY_INFERENCE", "tensorflow")  # OpenVINO has tests of its own, and takes seconds to start
    monkeypatch.setenv("SIMQUERY_CONFIG", os.devnull)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    # TensorFlow and the HTTP client keep threads of their own; readers, preparers and writers are ours to end.
    ours = ("reader", "preparer", "writer")
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith(ours)]
    assert not left


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Capture what simquery logs, even if the command line has changed logging in an earlier test."""
    monkeypatch.setattr(logging.getLogger("simquery"), "propagate", True)
    caplog.set_level(logging.INFO, "simquery")
    return caplog


@pytest.fixture
def weights() -> Path:
    if not WEIGHTS.is_dir():
        pytest.skip("no weights beside the checkout")
    return WEIGHTS


@pytest.fixture
def photos() -> Path:
    if not PHOTOS.is_dir():
        pytest.skip("no photographs beside the checkout")
    return PHOTOS


def pixels(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth colourful pattern, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save_picture(path: Path, seed: int = 0, **options: object) -> Path:
    """Write a picture; its format follows from the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path, **options)  # type: ignore[arg-type]
    return path


@contextlib.contextmanager
def unprivileged(reachable: Path) -> Iterator[None]:
    """Run without root's right to read everything; ``reachable`` and the folders above it can be entered."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (reachable, *reachable.parents[:-1]):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
