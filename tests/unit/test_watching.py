import logging
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
from tests.machine import alone, limited, medium

SETTLE = 0.2
QUIET = 0.5
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with alone("inotify"):  # some tests lower limits that hold for the whole machine
        yield


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

    def take_until(self, wanted: set[str]) -> None:
        while wanted:
            wanted = wanted - {self._names.get(timeout=PATIENCE)}

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


@pytest.mark.parametrize("options", [{}, {"reconcile_seconds": 0.01}, {"poll_seconds": 0.01}], ids=str)
def test_a_new_file_is_reported_once(tmp_path: Path, options: dict[str, float]) -> None:
    with watching(tmp_path, **options) as reported:
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
        with pytest.raises(FolderError, match="disappeared while"):
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


def pause(folder: Path, reported: Reported, number: int) -> None:
    """Wait as long as a file needs to settle, by waiting for another file."""
    os.utime(save_picture(folder / f"clock-{number}.png", number), ns=(0, 10**18))
    reported.take_until({f"clock-{number}.png"})


def test_a_file_that_is_written_with_long_pauses_is_reported_once(tmp_path: Path) -> None:
    with watching(tmp_path) as reported:
        with (tmp_path / "slow.bin").open("wb") as slow:
            for number in range(4):
                slow.write(b"part")
                slow.flush()
                pause(tmp_path, reported, number)
        assert reported.take(1) == ["slow.bin"]
    assert reported.rest() == []


def test_a_file_that_is_written_with_long_pauses_is_reported_once_by_polling_too(tmp_path: Path) -> None:
    with watching(tmp_path, poll_seconds=0.05, quiet_seconds=60.0) as reported:
        for number in range(3):
            with (tmp_path / "slow.bin").open("ab") as slow:
                slow.write(b"part")
            pause(tmp_path, reported, number)
        os.utime(tmp_path / "slow.bin", ns=(0, 10**18))
        assert reported.take(1) == ["slow.bin"]
    assert reported.rest() == []


def test_a_file_that_its_writer_never_closes_is_reported_once_it_has_not_changed_for_long(tmp_path: Path) -> None:
    with watching(tmp_path, open_seconds=QUIET) as reported, (tmp_path / "open.bin").open("wb") as file:
        file.write(b"all of it")
        file.flush()
        assert reported.take(1) == ["open.bin"]


def test_a_folder_that_a_file_has_replaced_is_reported_as_gone(tmp_path: Path) -> None:
    save_picture(tmp_path / "evidence" / "stick" / "a.png", 1)
    with watching(tmp_path / "evidence") as reported:
        (tmp_path / "evidence" / "stick").rename(tmp_path / "away")
        save_picture(tmp_path / "b.png").rename(tmp_path / "evidence" / "stick")
        assert reported.gone.get(timeout=PATIENCE) == "stick"
        assert reported.take(1) == ["stick"]


def test_what_happens_in_a_folder_that_was_renamed_is_noticed(tmp_path: Path) -> None:
    save_picture(tmp_path / "old" / "deep" / "a.png", 1)
    with watching(tmp_path) as reported:
        (tmp_path / "old").rename(tmp_path / "new")
        assert reported.take(1) == ["a.png"]
        save_picture(tmp_path / "new" / "deep" / "b.png", 2)
        assert reported.take(1) == ["b.png"]
        (tmp_path / "new" / "deep" / "a.png").unlink()
        gone = [reported.gone.get(timeout=PATIENCE) for _ in range(2)]
        assert gone == ["old", "a.png"]


def test_what_the_kernel_drops_in_a_burst_of_events_is_found_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = {f"{number}.bin" for number in range(2000)}
    with limited("max_queued_events", 50):
        watcher = Watcher([tmp_path], SETTLE, quiet_seconds=QUIET)
        watcher.__enter__()  # the kernel keeps the limit of this moment
    with watcher_running(watcher) as start:
        for name in sorted(names):
            (tmp_path / name).write_bytes(b"x")
        reported = start()
        reported.take_until(names)
        (tmp_path / "1.bin").unlink()
        assert reported.gone.get(timeout=PATIENCE) == "1.bin"
    assert [record.message for record in caplog.records if "has dropped events" in record.message] == [
        "Too many changes at once: the system has dropped events. The folders are scanned instead."
    ]


@contextmanager
def watcher_running(watcher: Watcher) -> Iterator[Any]:
    """Give a function that begins to read what an entered watcher has to say."""
    begun: list[Reported] = []

    def start() -> Reported:
        begun.append(Reported(watcher))
        return begun[0]

    try:
        yield start
    finally:
        watcher.stop()
        for reported in begun:
            reported.rest()
        watcher.__exit__(None, None, None)


def test_folders_that_the_kernel_refuses_to_watch_are_looked_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path, reconcile_seconds=0.3) as reported, limited("max_user_watches", 1):
        for number in range(51):
            save_picture(tmp_path / f"{number}" / f"first-{number}.png", number)
        reported.take_until({f"first-{number}.png" for number in range(51)})
        for number in range(51):
            save_picture(tmp_path / f"{number}" / f"second-{number}.png", number)
        (tmp_path / "3" / "first-3.png").unlink()
        reported.take_until({f"second-{number}.png" for number in range(51)})
        assert reported.gone.get(timeout=PATIENCE) == "first-3.png"
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "raise fs.inotify.max_user_watches" in warning.message


def test_a_watcher_starts_where_nothing_can_be_watched_any_more(tmp_path: Path) -> None:
    with limited("max_user_watches", 1), watching(tmp_path, reconcile_seconds=0.1) as reported:
        save_picture(tmp_path / "a.png")
        assert reported.take(1) == ["a.png"]


@pytest.mark.parametrize("options", [{}, {"poll_seconds": 0.1}], ids=["events", "polling"])
def test_a_medium_that_is_unmounted_is_not_gone_and_what_is_new_on_it_is_found_once_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, float]
) -> None:
    with medium(tmp_path / "disk.img", tmp_path / "evidence" / "disk") as disk:
        for number in range(3):
            save_picture(disk.folder / f"{number}.png", number)
        with watching(tmp_path / "evidence", **options) as reported:
            disk.unmount()
            save_picture(disk.folder / "beneath.png", 10)
            reported.take_until({"beneath.png"})
            disk.mount()
            save_picture(disk.folder / "new" / "3.png", 3)
            reported.take_until({"3.png"})
            save_picture(disk.folder / "new" / "4.png", 4)
            reported.take_until({"4.png"})
            (disk.folder / "0.png").unlink()
            gone = [reported.gone.get(timeout=PATIENCE)]
            while gone[-1] != "0.png":
                gone.append(reported.gone.get(timeout=PATIENCE))
            assert {*gone} <= {"beneath.png", "0.png"}  # the disk hides what lies beneath it
    messages = [record.message for record in caplog.records]
    assert sum("was unmounted" in message for message in messages) == 1
    assert sum("is mounted again" in message for message in messages) == 1


def test_a_medium_that_is_the_evidence_folder_may_be_unmounted_and_mounted_again(tmp_path: Path) -> None:
    with medium(tmp_path / "disk.img", tmp_path / "evidence") as disk:
        save_picture(disk.folder / "case" / "0.png", 0)
        with watching(disk.folder / "case") as reported:
            disk.unmount()
            disk.mount()
            save_picture(disk.folder / "case" / "1.png", 1)
            reported.take_until({"1.png"})
            assert reported.gone.empty()


def test_most_files_missing_at_once_are_not_believed_to_be_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        save_picture(tmp_path / "evidence" / f"{number}.png", number)
    with watching(tmp_path / "evidence", poll_seconds=0.1) as reported:
        (tmp_path / "empty").mkdir()
        (tmp_path / "evidence").rename(tmp_path / "elsewhere")
        (tmp_path / "empty").rename(tmp_path / "evidence")
        save_picture(tmp_path / "evidence" / "new.png", 99)
        assert reported.take(1) == ["new.png"]
        assert reported.gone.empty()
    assert "20 of 20 files are missing at once" in caplog.text


def test_a_folder_in_another_one_is_not_looked_at_twice(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    assert check_folders([tmp_path / "c", tmp_path / "a" / "b", tmp_path / "a", tmp_path / "c"]) == (
        tmp_path / "a",
        tmp_path / "c",
    )
