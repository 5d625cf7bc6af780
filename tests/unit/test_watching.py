import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from simquery.errors import FolderError
from simquery.indexer import Watcher, check_folder, check_folders
from tests.conftest import save_picture

SETTLE = 0.2
QUIET = 0.5
PATIENCE = 20.0


class Reported:
    """Names of the files that the watcher reports, as they come."""

    def __init__(self, watcher: Watcher) -> None:
        self._names: Queue[str] = Queue()
        self.gone: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._collect, args=(watcher,))
        self._thread.start()

    def _collect(self, watcher: Watcher) -> None:
        for change in watcher.changes():
            for path in change.gone:
                self.gone.put(path.name)
            for candidate in change.files:
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
def watching(folder: Path, **options: Any) -> Iterator[Reported]:
    with Watcher([check_folder(folder)], SETTLE, **{"quiet_seconds": QUIET, **options}) as watcher:
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
    with Watcher([check_folder(folder)], SETTLE) as watcher:
        folder.rmdir()
        with pytest.raises(FolderError, match="went away"):
            list(watcher.changes())


def test_a_folder_that_goes_away_before_watching_is_an_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(FolderError, match="There is no folder"), Watcher([gone]):
        pass


@pytest.mark.parametrize("options", [{}, {"poll_seconds": 0.1}], ids=["events", "polling"])
def test_files_that_appear_change_or_go_are_reported(tmp_path: Path, options: dict[str, float]) -> None:
    before = save_picture(tmp_path / "before.png", 1)
    with watching(tmp_path, **options) as reported:
        save_picture(tmp_path / "deep" / "new.png", 2)
        assert reported.take(1) == ["new.png"]
        save_picture(before, 3)
        assert reported.take(1) == ["before.png"]
        before.unlink()
        assert reported.gone.get(timeout=PATIENCE) == "before.png"
    assert reported.rest() == []


def test_a_folder_that_is_moved_out_is_reported_as_gone(tmp_path: Path) -> None:
    save_picture(tmp_path / "evidence" / "stick" / "a.png", 1)
    with watching(tmp_path / "evidence") as reported:
        (tmp_path / "evidence" / "stick").rename(tmp_path / "stick")
        assert reported.gone.get(timeout=PATIENCE) == "stick"


def test_several_folders_are_watched_at_once(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with Watcher(check_folders(folders), SETTLE) as watcher:
        reported = Reported(watcher)
        for seed, folder in enumerate(folders):
            save_picture(folder / f"{seed}.png", seed)
        assert sorted(reported.take(2)) == ["0.png", "1.png"]
        watcher.stop()
        reported.rest()


def test_a_folder_in_another_one_is_not_looked_at_twice(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    assert check_folders([tmp_path / "c", tmp_path / "a" / "b", tmp_path / "a", tmp_path / "c"]) == (
        tmp_path / "a",
        tmp_path / "c",
    )
