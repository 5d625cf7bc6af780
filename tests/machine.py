"""Changes that tests make to the machine and undo: mounts and kernel limits. They need root."""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_LIMITS = Path("/proc/sys/fs/inotify")


class Medium:
    """A small disk image that can be mounted at a folder and unmounted again."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder
        image.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(8 << 20)
        _run_or_skip("mkfs.ext4", "-q", "-F", "-m", "0", str(image))

    def mount(self) -> None:
        _run_or_skip("mount", "-o", "loop", str(self._image), str(self.folder))
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "lost+found").rmdir()

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True, capture_output=True)

    def close(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)


@contextlib.contextmanager
def medium(image: Path, folder: Path) -> Iterator[Medium]:
    """A disk that is mounted at a folder."""
    disk = Medium(image, folder)
    disk.mount()
    try:
        yield disk
    finally:
        disk.close()


@contextlib.contextmanager
def memory_mounted(folder: Path, options: str) -> Iterator[None]:
    """A filesystem in memory, mounted at a folder."""
    _run_or_skip("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait for other test runs on this machine that change or depend on the same setting."""
    with Path(tempfile.gettempdir(), f"simquery-tests-{name}-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def limited(name: str, value: int) -> Iterator[None]:
    """Change a limit of inotify for the block."""
    limit = _LIMITS / name
    if not os.access(limit, os.W_OK):
        pytest.skip(f"cannot change {limit}")
    before = limit.read_text()
    limit.write_text(str(value))
    try:
        yield
    finally:
        limit.write_text(before)


def _run_or_skip(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"there is no {command[0]}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot run {command[0]}: {error.stderr.strip()}")
