import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simquery.errors import FolderError
from simquery.indexer import Watcher, check_folder, scan
from simquery.indexer.evidence import is_folder, is_gone
from simquery.indexer.hashing import hash_file
from simquery.indexer.inventory import Inventory, Missing
from simquery.pictures.files import Digests, open_evidence
from tests.conftest import save_picture, unprivileged
from tests.machine import memory_mounted


def test_every_file_is_found_in_the_order_of_the_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "c.png", "b/10.png"):
        save_picture(tmp_path / name)
    found = [str(candidate.path.relative_to(tmp_path)) for candidate in scan(tmp_path)]
    assert found == ["a/1.png", "b/10.png", "b/2.png", "c.png"]


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    (candidate,) = scan(tmp_path)
    assert (candidate.size, candidate.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_links_are_reported_and_not_followed(tmp_path: Path) -> None:
    save_picture(tmp_path / "evidence" / "a.png")
    (tmp_path / "evidence" / "circle").symlink_to(tmp_path / "evidence")
    (tmp_path / "evidence" / "link.png").symlink_to(tmp_path / "evidence" / "a.png")
    by_name = {candidate.path.name: candidate.skipped for candidate in scan(tmp_path / "evidence")}
    assert by_name == {"a.png": None, "circle": "a symbolic link", "link.png": "a symbolic link"}


@pytest.fixture
def deep_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders in folders, deeper than Python's stack, with one file at the bottom."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    Path("bottom.txt").touch()
    yield tmp_path
    Path("bottom.txt").unlink()
    for _ in range(1500):  # nothing else can remove it: shutil recurses
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106


def test_folders_may_be_nested_deeper_than_any_stack(deep_folder: Path) -> None:
    (found,) = scan(deep_folder)
    assert found.path.name == "bottom.txt"


@pytest.fixture
def very_deep_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders in folders, to a path of 44,000 bytes, with 22 files in the one where it first exceeds 4,096."""
    monkeypatch.chdir(tmp_path)
    name, depth = "d" * 250, 176
    for level in range(depth):
        os.mkdir(name)  # noqa: PTH102
        os.chdir(name)
        if level == 17:
            for number in range(22):
                Path(f"{number:02}.bin").write_bytes(b"%d" % number)
    yield tmp_path
    for level in reversed(range(depth)):
        if level == 17:
            for number in range(22):
                Path(f"{number:02}.bin").unlink()
        os.chdir("..")
        os.rmdir(name)  # noqa: PTH106


def test_files_are_found_and_read_however_long_their_paths_are(very_deep_folder: Path) -> None:
    *files, folder = scan(very_deep_folder)
    assert [file.path.name for file in files] == [f"{number:02}.bin" for number in range(22)]
    assert all(len(os.fsencode(file.path)) > 4096 for file in files)
    digests = [hash_file(file, lambda: False) for file in files]
    assert len({digest.sha256 for digest in digests if isinstance(digest, Digests)}) == 22
    with open_evidence(files[7].path) as opened:
        assert opened.read() == b"7"
    assert not is_gone(files[0].path)
    assert is_gone(files[0].path.with_name("missing.bin"))
    assert is_folder(files[0].path.parent)

    assert folder.unreadable == "1 paths in this folder have more than 32,766 bytes, too many for the ledger"
    assert len(os.fsencode(folder.path)) <= 32_766


def test_an_inventory_finds_files_however_long_their_paths_are(very_deep_folder: Path) -> None:
    inventory = Inventory([very_deep_folder], lambda _path, _: None)
    assert list(inventory.look())[:-1] == list(scan(very_deep_folder))
    assert list(inventory.look()) == [Missing([], 0, 22)]


def test_a_folder_is_watched_however_long_its_path_is(very_deep_folder: Path) -> None:
    with Watcher([very_deep_folder], 0.1) as watcher:
        new = Path("../" * 158, "new.bin")
        new.write_bytes(b"new")
        (file,) = next(watcher.changes()).files
        new.unlink()
    assert file.path.name == "new.bin"
    assert len(os.fsencode(file.path)) > 4096


def test_folders_and_files_keep_their_access_times(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    with memory_mounted(tmp_path / "mount", "strictatime"):
        evidence = tmp_path / "mount" / "evidence"
        picture = save_picture(evidence / "deep" / "a.png")
        looked_at = [evidence, picture.parent, picture]
        for path in looked_at:
            os.utime(path, ns=(10**18, 10**18))
        check_folder(evidence)
        (file,) = scan(evidence)
        assert isinstance(hash_file(file, lambda: False), Digests)
        inventory = Inventory([evidence], lambda _path, _: None)
        inventory.begin()
        list(inventory.look())
        assert [path.stat().st_atime_ns for path in looked_at] == [10**18] * 3
        list(evidence.iterdir())
        assert evidence.stat().st_atime_ns != 10**18  # so here a listing like any other leaves a trace


def test_a_pipe_is_reported_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (candidate,) = scan(tmp_path)
    assert candidate.skipped == "not a regular file"


def test_a_name_that_is_not_utf8_is_kept(tmp_path: Path) -> None:
    name = b"caf\xe9.png"
    save_picture(tmp_path / "plain.png").rename(tmp_path / os.fsdecode(name))
    (candidate,) = scan(tmp_path)
    assert os.fsencode(candidate.path.name) == name


def test_a_folder_without_the_right_to_list_it_is_reported(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    save_picture(closed / "a.png")
    save_picture(tmp_path / "open" / "b.png")
    closed.chmod(0)
    with unprivileged(tmp_path):
        found = {candidate.path.name: candidate.unreadable for candidate in scan(tmp_path)}
    closed.chmod(0o755)
    assert found == {"closed": "the folder cannot be listed: Permission denied", "b.png": None}


def test_an_evidence_folder_must_be_there_and_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="There is no folder"):
        check_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="is not a folder"):
        check_folder(tmp_path / "file")


def test_an_evidence_folder_must_be_readable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with unprivileged(tmp_path), pytest.raises(FolderError, match="Permission denied"):
        check_folder(closed)


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evidence").mkdir()
    monkeypatch.chdir(tmp_path)
    assert check_folder(Path("evidence")) == tmp_path / "evidence"
