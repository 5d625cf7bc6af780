import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest

from simquery.errors import FolderError
from simquery.indexer import Watcher, check_folder
from tests.conftest import save_picture

SETTLE = 0.2
PATIENCE = 20.0


class Reported:
    """Names of the files that the watcher reports, as they come."""

    def __init__(self, watcher: Watcher) -> None:
        self._names: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._collect, args=(watcher,))
        self._thread.start()

    def _collect(self, watcher: Watcher) -> None:
        for group in watcher.complete():
            for candidate in group:
                self._names.put(candidate.path.name)

    def take(self, count: int) -> list[str]:
        return [self._names.get(timeout=PATIENCE) for _ in range(count)]

    def within(self, seconds: float) -> list[str]:
        try:
            return [self._names.get(timeout=seconds)]
        except Empty:
            return []

    def rest(self) -> list[str]:
        self._thread.join(PATIENCE)
        return list(self._names.queue)


@contextmanager
def watching(folder: Path) -> Iterator[Reported]:
    with Watcher(check_folder(folder), SETTLE) as watcher:
        reported = Reported(watcher)
        try:
            yield reported
        finally:
            watcher.stop()
            reported.rest()


def test_a_new_file_is_reported_once(tmp_path: Path) -> None:
    with watching(tmp_path) as reported:
        save_picture(tmp_path / "a.png", 1)
        assert reported.take(1) == ["a.png"]
        save_picture(tmp_path / "b.png", 2)
        assert reported.take(1) == ["b.png"]
    assert reported.rest() == []


def test_a_file_that_still_grows_is_not_reported_yet(tmp_path: Path) -> None:
    with watching(tmp_path) as reported, (tmp_path / "growing.bin").open("wb") as growing:
        growing.write(b"half")
        growing.flush()
        save_picture(tmp_path / "whole.png")
        while not (names := reported.within(SETTLE / 4)):
            growing.write(b"more")
            growing.flush()
        assert names == ["whole.png"]
        growing.close()
        assert reported.take(1) == ["growing.bin"]


def test_a_file_renamed_into_its_place_is_reported_under_its_new_name(tmp_path: Path) -> None:
    with watching(tmp_path) as reported:
        save_picture(tmp_path / "part.png").rename(tmp_path / "final.png")
        names = reported.take(1)
        while "final.png" not in names:
            names += reported.take(1)


def test_a_folder_moved_in_brings_all_its_files(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for seed in range(5):
        save_picture(tmp_path / "stick" / "deep" / f"{seed}.png", seed)
    with watching(evidence) as reported:
        (tmp_path / "stick").rename(evidence / "stick")
        assert sorted(reported.take(5)) == [f"{seed}.png" for seed in range(5)]


def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    with watching(tmp_path) as reported:
        save_picture(tmp_path / "outside" / "a.png").rename(tmp_path / name)
        assert reported.take(1) == [name]


def test_hundreds_of_files_at_once_are_all_reported(tmp_path: Path) -> None:
    with watching(tmp_path) as reported:
        for number in range(300):
            (tmp_path / f"{number}.bin").write_bytes(b"x")
        assert sorted(reported.take(300)) == sorted(f"{number}.bin" for number in range(300))


def test_a_temporary_file_that_is_gone_again_is_not_reported(tmp_path: Path) -> None:
    with watching(tmp_path) as reported:
        (tmp_path / ".download").write_bytes(b"x")
        (tmp_path / ".download").unlink()
        save_picture(tmp_path / "a.png")
        assert reported.take(1) == ["a.png"]
    assert reported.rest() == []


def test_a_folder_that_goes_away_while_it_is_watched_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    with Watcher(check_folder(folder), SETTLE) as watcher:
        folder.rmdir()
        with pytest.raises(FolderError, match="went away"):
            list(watcher.complete())


def test_a_folder_that_goes_away_before_watching_is_an_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(FolderError, match="There is no folder"), Watcher(gone):
        pass
