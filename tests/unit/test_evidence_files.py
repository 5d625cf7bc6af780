import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simquery.errors import FolderError
from simquery.indexer import check_folder, scan
from tests.conftest import save_picture, unprivileged


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
