import os
from pathlib import Path

import pytest

from simquery.indexer.evidence import EvidenceFile, inspect
from simquery.indexer.inventory import Inventory, Missing
from tests.conftest import save_picture, unprivileged


def begun(folder: Path) -> Inventory:
    inventory = Inventory([folder], lambda _path, _descriptor: None)
    inventory.begin()
    return inventory


def looked(inventory: Inventory) -> tuple[list[str], Missing]:
    """Names of the files that a look finds, and what it misses."""
    *files, missing = inventory.look()
    assert isinstance(missing, Missing)
    return [file.path.name for file in files if isinstance(file, EvidenceFile)], missing


def test_a_look_finds_what_is_new_has_changed_or_is_missing(tmp_path: Path) -> None:
    for name in ("same", "changed", "missing", "deep/missing", "deep/deeper/missing"):
        save_picture(tmp_path / f"{name}.png")
    inventory = begun(tmp_path)
    assert looked(inventory) == ([], Missing([], 0, 5))
    os.utime(tmp_path / "changed.png", ns=(0, 0))
    (tmp_path / "missing.png").unlink()
    (tmp_path / "deep").rename(tmp_path.parent / f"{tmp_path.name}-away")
    save_picture(tmp_path / "new" / "new.png")
    expected = Missing([tmp_path / "missing.png", tmp_path / "deep"], 3, 5)
    assert looked(inventory) == (["changed.png", "new.png"], expected)
    assert looked(inventory) == ([], Missing([], 0, 3))


def test_a_file_that_a_folder_has_replaced_is_missing_and_the_other_way_round(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    save_picture(tmp_path / "b" / "b.png")
    inventory = begun(tmp_path)
    (tmp_path / "a.png").unlink()
    save_picture(tmp_path / "a.png" / "c.png")
    (tmp_path / "b" / "b.png").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "b").touch()
    files, missing = looked(inventory)
    assert files == ["b", "c.png"]
    assert missing == Missing([tmp_path / "a.png", tmp_path / "b"], 2, 2)


def test_what_was_noted_is_not_found_or_missed_again(tmp_path: Path) -> None:
    save_picture(tmp_path / "going.png")
    save_picture(tmp_path / "folder" / "going.png")
    inventory = begun(tmp_path)
    inventory.note(inspect(save_picture(tmp_path / "new.png")))
    (tmp_path / "going.png").unlink()
    inventory.note_gone(tmp_path / "going.png")
    (tmp_path / "folder").rename(tmp_path.parent / f"{tmp_path.name}-away")
    inventory.note_gone(tmp_path / "folder")
    assert looked(inventory) == ([], Missing([], 0, 2))
    (tmp_path / "new.png").unlink()
    assert looked(inventory) == ([], Missing([tmp_path / "new.png"], 1, 1))


def test_a_file_that_was_noted_and_is_missing_before_the_next_look_is_missed(tmp_path: Path) -> None:
    inventory = begun(tmp_path)
    inventory.note(inspect(save_picture(tmp_path / "short-lived.png")))
    (tmp_path / "short-lived.png").unlink()
    assert looked(inventory) == ([], Missing([tmp_path / "short-lived.png"], 1, 0))


def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_missing_and_found_later(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    save_picture(closed / "a.png")
    save_picture(closed / "deep" / "b.png")
    inventory = begun(tmp_path)
    closed.chmod(0)
    with unprivileged(tmp_path):
        *files, missing = inventory.look()
        again = list(inventory.look())
    closed.chmod(0o755)
    assert files == [EvidenceFile(closed, unreadable="the folder cannot be listed: Permission denied")]
    assert missing == Missing([], 0, 2)
    assert again == [Missing([], 0, 0)]
    assert looked(inventory) == (["a.png", "b.png"], Missing([], 0, 0))


def test_a_folder_that_has_come_is_looked_into_once(tmp_path: Path) -> None:
    save_picture(tmp_path / "old.png")
    inventory = begun(tmp_path)
    save_picture(tmp_path / "new" / "deep" / "a.png")
    assert [file.path.name for file in inventory.look_into(tmp_path / "new")] == ["a.png"]
    assert list(inventory.look_into(tmp_path / "new")) == []
    assert looked(inventory) == ([], Missing([], 0, 2))


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"new\nline.png", b" "])
def test_hostile_names_are_remembered_as_they_are(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.touch()
    inventory = begun(tmp_path)
    assert looked(inventory) == ([], Missing([], 0, 1))
    path.unlink()
    assert looked(inventory) == ([], Missing([path], 1, 1))
