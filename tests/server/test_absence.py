import os
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from simquery.errors import MissingEvidenceError
from simquery.indexer import Indexer, Watcher, check_folders
from simquery.mappings import stored_filesystems
from tests.conftest import save_picture
from tests.machine import medium
from tests.plain import Mean
from tests.server.test_evidence import differences, indexed
from tests.server.test_indexing import counted, ledger


def gone(client: Elasticsearch, case: str) -> set[str]:
    return {name for name, entry in ledger(client, case).items() if "gone_at" in entry}


def test_an_empty_folder_is_no_proof_that_its_files_are_gone(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    for number in range(3):
        save_picture(evidence / f"{number}.png", number)
    indexed(client, case, evidence)
    evidence.rename(tmp_path / "elsewhere")
    evidence.mkdir()
    with pytest.raises(MissingEvidenceError, match=r"evidence' is empty, but the case knows 3 files in it: .*--record"):
        indexed(client, case, evidence)
    assert gone(client, case) == set()
    assert indexed(client, case, evidence, missing_is_true=True).gone == 3
    assert gone(client, case) == {"0.png", "1.png", "2.png"}


def test_most_files_missing_at_once_is_no_proof_that_they_are_gone(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    for number in range(20):
        save_picture(tmp_path / "evidence" / f"{number}.png", number % 5)
    indexed(client, case, tmp_path / "evidence")
    for number in range(11):
        (tmp_path / "evidence" / f"{number}.png").unlink()
    with pytest.raises(MissingEvidenceError, match="11 of the 20 known files in"):
        indexed(client, case, tmp_path / "evidence")
    assert gone(client, case) == set()
    save_picture(tmp_path / "evidence" / "10.png", 10)
    counts = indexed(client, case, tmp_path / "evidence")
    assert (counts.indexed, counts.gone) == (1, 10)


def test_files_of_a_medium_that_is_not_mounted_are_not_gone(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    for number in range(30):
        save_picture(evidence / f"{number}.png", number % 5)
    with medium(tmp_path / "disk.img", evidence / "disk") as disk:
        save_picture(disk.folder / "a.png", 50)
        save_picture(disk.folder / "b.png", 51)
        indexed(client, case, evidence)
        assert disk.folder in stored_filesystems(client, case, evidence)
        disk.unmount()
        (evidence / "0.png").unlink()
        with pytest.raises(
            MissingEvidenceError,
            match=r"filesystem at '.*/disk' has changed or is not mounted.* 3 of the 32 known files",
        ):
            indexed(client, case, evidence)
        assert gone(client, case) == set()
        disk.mount()
        (disk.folder / "b.png").unlink()
        assert indexed(client, case, evidence).gone == 2
        assert gone(client, case) == {"0.png", "b.png"}
        disk.unmount()
        assert indexed(client, case, evidence, missing_is_true=True).gone == 1
    assert indexed(client, case, evidence).gone == 0


def test_another_medium_in_the_place_of_the_first_does_not_make_its_files_gone(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    with medium(tmp_path / "one.img", tmp_path / "evidence") as disk:
        save_picture(disk.folder / "same.png", 1)
        save_picture(disk.folder / "other.png", 2)
        indexed(client, case, disk.folder)
    with medium(tmp_path / "two.img", tmp_path / "evidence") as disk:
        save_picture(disk.folder / "same.png", 1)
        with pytest.raises(MissingEvidenceError, match="1 of the 2 known files"):
            indexed(client, case, disk.folder)
    assert gone(client, case) == set()


def test_entries_below_a_folder_that_a_file_has_replaced_are_gone(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    save_picture(tmp_path / "stick" / "a.png", 1)
    save_picture(tmp_path / "b.png", 2)
    indexed(client, case, tmp_path)
    indexer = Indexer(client, case, Mean())
    with Watcher(check_folders([tmp_path]), 0.1) as watcher:
        (tmp_path / "stick" / "a.png").unlink()
        (tmp_path / "stick").rmdir()
        (tmp_path / "b.png").rename(tmp_path / "stick")
        for change in watcher.changes():
            indexer.record_seen_gone(change.gone)
            indexer.index(change.files, lambda _: None)
            if change.files:
                watcher.stop()
    assert gone(client, case) == {"a.png", "b.png"}
    assert "stick" in ledger(client, case)
    assert differences(client, case, tmp_path) == {}


def test_a_file_that_a_folder_has_replaced_is_gone(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 1)
    indexed(client, case, tmp_path)
    (tmp_path / "a.png").unlink()
    save_picture(tmp_path / "a.png" / "b.png", 2)
    assert counted(indexed(client, case, tmp_path)) == {"indexed": 1, "gone": 1}
    assert gone(client, case) == {"a.png"}


def test_a_folder_that_is_seen_to_go_takes_all_its_entries_along(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    for number in range(12):
        save_picture(tmp_path / "stick" / f"{number}.png", number)
    save_picture(tmp_path / "stick.png", 20)
    indexed(client, case, tmp_path)
    (tmp_path / "stick").rename(tmp_path.parent / f"{tmp_path.name}-away")
    indexer = Indexer(client, case, Mean())
    indexer.record_seen_gone([tmp_path / "stick", tmp_path / "never-seen"])
    assert indexer.counts.gone == 12
    assert gone(client, case) == {f"{number}.png" for number in range(12)}


def test_paths_too_long_for_the_kernel_have_an_entry_each(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, depth = "d" * 250, 20
    for _ in range(depth):
        os.mkdir(name)  # noqa: PTH102
        os.chdir(name)
    pictures = [save_picture(Path(f"{number}.png"), number) for number in range(22)]
    try:
        assert counted(indexed(client, case, tmp_path)) == {"indexed": 22}
        assert len(ledger(client, case)) == 22
        assert {len(entry["path"]) > 4096 for entry in ledger(client, case).values()} == {True}
        assert differences(client, case, tmp_path, rehash=True) == {}
        pictures.pop().unlink()
        assert indexed(client, case, tmp_path).gone == 1
    finally:
        for picture in pictures:
            picture.unlink()
        for _ in range(depth):
            os.chdir("..")
            os.rmdir(name)  # noqa: PTH106
