import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch
from PIL import Image

from simquery.embedders import Embedder, Features, Pixels
from simquery.errors import ClusterError
from simquery.indexer import Counts, EvidenceFile, Indexer, hashing, scan
from simquery.indexer.hashing import hash_file
from simquery.mappings import files_index, images_index
from simquery.paths import real_path
from simquery.query import Searcher
from tests.conftest import pixels, save_picture, unprivileged
from tests.server.conftest import MODEL

Index = Callable[[Path], Counts]


def counted(counts: Counts) -> dict[str, int]:
    return {name: number for name, number in asdict(counts).items() if number}


def ledger(client: Elasticsearch, case: str) -> dict[str, dict[str, Any]]:
    """Entries by file name."""
    client.indices.refresh(index=files_index(case))
    found = client.search(index=files_index(case), size=1000)["hits"]["hits"]
    return {hit["_source"]["path"].rsplit("/", 1)[-1]: hit["_source"] for hit in found}


def images(client: Elasticsearch, case: str, model: str = MODEL) -> dict[str, dict[str, Any]]:
    """Documents by SHA-256, with their vectors as numbers."""
    found = client.search(index=images_index(case, model), size=1000, source_exclude_vectors=False)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in found}


def test_every_picture_gets_a_document_and_an_entry(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    for seed in range(40):
        save_picture(tmp_path / f"{seed % 3}" / f"{seed}.png", seed)
    assert counted(index(tmp_path)) == {"indexed": 40}
    documents, entries = images(client, case), ledger(client, case)
    assert len(documents) == len(entries) == 40
    for entry in entries.values():
        document = documents[entry["sha256"]]
        assert document["paths"] == [entry["path"]]
        assert (document["format"], document["width"], document["height"]) == ("PNG", 64, 48)
        assert (entry["status"], entry["models"], entry["size"]) == ("indexed", [MODEL], document["size"])


def test_what_comes_back_is_the_vector_that_went_in(
    client: Elasticsearch, case: str, index: Index, embedder: Embedder, tmp_path: Path
) -> None:
    picture = save_picture(tmp_path / "a.png", 1)
    index(tmp_path)
    (document,) = images(client, case).values()
    height, width = embedder.input_size
    small = np.asarray(Image.fromarray(pixels(1)).resize((width, height), Image.Resampling.BILINEAR))
    expected = embedder.embed(small[np.newaxis])[0]
    stored = Searcher(client, case, MODEL, lambda: embedder).reference(picture).vectors[0]
    np.testing.assert_allclose(stored, expected, rtol=1e-6)  # a graph by cosine stores it normalised
    assert document["norm"] == pytest.approx(float(np.linalg.norm(expected.astype(np.float64))), rel=1e-12)
    assert document["sum"] == pytest.approx(float(expected.astype(np.float64).sum()), rel=1e-12)


def test_the_same_content_twice_is_one_document_with_two_paths(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    first = save_picture(tmp_path / "a.png", 1)
    shutil.copy(first, tmp_path / "b.png")
    assert counted(index(tmp_path)) == {"indexed": 1, "duplicate": 1}
    (before,) = images(client, case).values()
    assert before["paths"] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]

    shutil.copy(first, tmp_path / "c.jpg")
    assert counted(index(tmp_path)) == {"duplicate": 1, "unchanged": 2}
    (after,) = images(client, case).values()
    assert after["paths"] == [*before["paths"], str(tmp_path / "c.jpg")]
    np.testing.assert_allclose(after["embedding"], before["embedding"], rtol=1e-6)
    assert [ledger(client, case)[name]["status"] for name in ("a.png", "b.png", "c.jpg")] == [
        "indexed",
        "duplicate",
        "duplicate",
    ]


def test_a_second_run_does_nothing_again(client: Elasticsearch, case: str, index: Index, tmp_path: Path) -> None:
    for seed in range(5):
        save_picture(tmp_path / f"{seed}.png", seed)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "notes.txt").write_text("nothing to see")
    index(tmp_path)
    before = ledger(client, case), images(client, case)
    assert counted(index(tmp_path)) == {"unchanged": 7}
    assert (ledger(client, case), images(client, case)) == before


def test_files_that_cannot_be_indexed_are_recorded_with_their_reason(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    whole = save_picture(tmp_path / "cut.webp", 1).read_bytes()
    (tmp_path / "cut.webp").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "diary.jpg").write_text("dear diary")
    (tmp_path / "notes.txt").write_text("dear diary")
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    Image.new("1", (13_500, 13_500)).save(tmp_path / "bomb.png")
    save_picture(tmp_path / "good.png", 2)
    counts = counted(index(tmp_path))
    entries = ledger(client, case)
    reasons = {name: (entry["status"], entry.get("reason")) for name, entry in entries.items()}
    assert reasons.pop("cut.webp")[1].startswith("broken picture: ")
    assert reasons == {
        "empty.jpg": ("unreadable", "empty file (0 bytes)"),
        "diary.jpg": ("unreadable", "not a picture in any format that can be decoded here, in spite of its name"),
        "notes.txt": ("skipped", "not a picture in any format that can be decoded here"),
        "link.png": ("skipped", "a symbolic link"),
        "bomb.png": ("unreadable", "decompression bomb: more than 178,956,970 pixels"),
        "good.png": ("indexed", None),
    }
    assert counts == {"indexed": 1, "unreadable": 4, "skipped": 2}
    assert all(len(entry["sha256"]) == 64 for name, entry in entries.items() if name != "link.png")


def test_a_file_without_the_right_to_read_it_is_recorded_and_tried_again(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    secret = save_picture(tmp_path / "secret.png", 1)
    secret.chmod(0)
    with unprivileged(tmp_path):
        assert counted(index(tmp_path)) == {"unreadable": 1}
    assert ledger(client, case)["secret.png"]["reason"] == "cannot be read: Permission denied"
    secret.chmod(0o644)
    assert counted(index(tmp_path)) == {"indexed": 1}
    assert "reason" not in ledger(client, case)["secret.png"]


def test_a_file_that_vanishes_or_changes_while_being_read_is_recorded(
    client: Elasticsearch, case: str, embedder: Embedder, tmp_path: Path
) -> None:
    save_picture(tmp_path / "changed.png", 1)
    save_picture(tmp_path / "vanished.png", 2)
    seen = list(scan(tmp_path))
    (tmp_path / "vanished.png").unlink()
    save_picture(tmp_path / "changed.png", 3)
    os.utime(tmp_path / "changed.png", ns=(10**18, 10**18))
    indexer = Indexer(client, case, embedder)
    indexer.index(seen, lambda _: None)
    assert counted(indexer.counts) == {"unreadable": 2}
    reasons = {name: entry["reason"] for name, entry in ledger(client, case).items()}
    assert reasons == {"changed.png": "changed while it was read", "vanished.png": "vanished before it could be read"}


def test_a_copy_that_vanishes_does_not_take_the_others_along(
    client: Elasticsearch, case: str, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_picture(tmp_path / "a.png", 1)
    shutil.copy(first, tmp_path / "b.png")

    def hash_then_vanish(file: EvidenceFile, *limits: Any) -> object:
        digests = hash_file(file, *limits)
        if file.path == first:
            first.unlink()  # after it was hashed, before it is decoded
        return digests

    monkeypatch.setattr(hashing, "hash_file", hash_then_vanish)
    indexer = Indexer(client, case, embedder)
    indexer.index(list(scan(tmp_path)), lambda _: None)
    assert counted(indexer.counts) == {"indexed": 1, "unreadable": 1}
    monkeypatch.undo()
    shutil.copy(tmp_path / "b.png", first)
    again = Indexer(client, case, embedder)
    again.index(scan(tmp_path), lambda _: None)
    assert counted(again.counts) == {"duplicate": 1, "unchanged": 1}


def test_dates_beyond_what_elasticsearch_can_hold_are_kept(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    far, early = 2400 * 31_556_952 * 10**9 - 62_167_219_200 * 10**9, -(10**18)
    for seed, moment in enumerate((far, early)):
        os.utime(save_picture(tmp_path / f"{seed}.png", seed), ns=(moment, moment))
    assert counted(index(tmp_path)) == {"indexed": 2}
    assert {int(entry["mtime_ns"]) for entry in ledger(client, case).values()} == {
        path.stat().st_mtime_ns for path in tmp_path.iterdir()
    }
    assert counted(index(tmp_path)) == {"unchanged": 2}


def test_pictures_of_formats_that_cannot_be_decoded_do_not_pass_for_text(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    for name in ("new.jxl", "raw.cr2", "logo.eps"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n" + name.encode())
    assert counted(index(tmp_path)) == {"unreadable": 3}


def test_an_answer_that_does_not_say_whether_an_entry_exists_ends_the_run(
    client: Elasticsearch, case: str, embedder: Embedder, tmp_path: Path
) -> None:
    save_picture(tmp_path / "a.png")
    indexer = Indexer(client, case, embedder)
    client.indices.close(index=files_index(case))
    with pytest.raises((ClusterError, ApiError)):
        indexer.index(scan(tmp_path), lambda _: None)
    client.indices.open(index=files_index(case))


def test_a_changed_file_is_indexed_anew_and_its_earlier_content_is_not_forgotten(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    picture = save_picture(tmp_path / "a.png", 1)
    index(tmp_path)
    before = ledger(client, case)["a.png"]
    save_picture(picture, 2)
    os.utime(picture, ns=(10**18, 10**18))
    assert counted(index(tmp_path)) == {"indexed": 1}
    after = ledger(client, case)["a.png"]
    assert after["sha256"] != before["sha256"]
    assert [earlier["sha256"] for earlier in after["earlier"]] == [before["sha256"]]
    assert set(images(client, case)) == {before["sha256"], after["sha256"]}


def test_names_that_are_not_utf8_or_hostile_are_indexed_and_can_be_told(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    names = {b"caf\xe9.png", b"\x1b[2J.png", b"line\nbreak.png", b"[red].png", b"back\\slash.png"}
    for seed, name in enumerate(sorted(names)):
        save_picture(tmp_path / "a.png", seed).rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    assert counted(index(tmp_path)) == {"indexed": 5}
    stored = {os.fsencode(real_path(entry["path"]).name) for entry in ledger(client, case).values()}
    assert stored == names
    assert counted(index(tmp_path)) == {"unchanged": 5}


def test_nothing_in_the_evidence_changes(index: Index, tmp_path: Path) -> None:
    for seed in range(6):
        save_picture(tmp_path / f"{seed % 2}" / f"{seed}.jpg", seed)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")

    def state() -> dict[str, tuple[int, int, int, bytes]]:
        facts = {}
        for path in sorted(tmp_path.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            facts[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
        return facts

    before = state()
    index(tmp_path)
    assert state() == before


def test_pictures_of_every_kind_are_indexed(index: Index, tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(1))
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture.convert("L").save(tmp_path / "grey.png")
    picture.convert("P").save(tmp_path / "palette.gif", save_all=True, append_images=[picture.rotate(90).convert("P")])
    picture.convert("1").save(tmp_path / "bits.tif")
    Image.fromarray(pixels(2)[..., 0].astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    picture.save(tmp_path / "web.webp")
    picture.save(tmp_path / "old.bmp")
    picture.save(tmp_path / "page.jp2")
    assert counted(index(tmp_path)) == {"indexed": 8}


class Blind:
    """A network that sees nothing in dark pictures."""

    name = "blind"
    dims = 3
    input_size = (8, 8)
    fingerprint = "0" * 64

    def embed(self, batch: Pixels) -> Features:
        means = batch.mean(axis=(1, 2)).astype(np.float32)
        means[means.sum(axis=1) < 10] = 0
        return means


def test_a_picture_in_which_the_network_finds_nothing_is_recorded(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "dark.png")
    save_picture(tmp_path / "light.png")
    indexer = Indexer(client, case, Blind())
    indexer.index(scan(tmp_path), lambda _: None)
    assert counted(indexer.counts) == {"indexed": 1, "unreadable": 1}
    entry = ledger(client, case)["dark.png"]
    assert "model 'blind' finds nothing in it" in entry["reason"]
    assert entry["refused_by"] == ["blind"]


@pytest.mark.parametrize("blind_first", [True, False])
def test_what_one_model_finds_nothing_in_another_still_sees(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path, *, blind_first: bool
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "dark.png")

    def index_blindly(_: Path) -> Counts:
        indexer = Indexer(client, case, Blind())
        indexer.index(scan(tmp_path), lambda _: None)
        return indexer.counts

    runs = [index_blindly, index] if blind_first else [index, index_blindly]
    for once in runs:
        once(tmp_path)
    entry = ledger(client, case)["dark.png"]
    assert (entry["status"], entry["models"], entry["refused_by"]) == ("indexed", [MODEL], ["blind"])
    assert "reason" not in entry
    assert [counted(once(tmp_path)) for once in runs] == [{"unchanged": 1}, {"unchanged": 1}]


def test_a_second_model_fills_in_what_it_lacks(client: Elasticsearch, case: str, index: Index, tmp_path: Path) -> None:
    for seed in range(3):
        save_picture(tmp_path / f"{seed}.png", seed)
    index(tmp_path)
    indexer = Indexer(client, case, Blind())
    indexer.index(scan(tmp_path), lambda _: None)
    assert counted(indexer.counts) == {"indexed": 3}
    assert len(images(client, case, "blind")) == len(images(client, case)) == 3
    assert all(entry["models"] == sorted(["blind", MODEL]) for entry in ledger(client, case).values())
    assert counted(index(tmp_path)) == {"unchanged": 3}


def test_a_run_that_was_killed_between_documents_and_ledger_goes_on(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    for seed in range(3):
        save_picture(tmp_path / f"{seed}.png", seed)
    index(tmp_path)
    client.indices.refresh(index=files_index(case))
    client.delete_by_query(index=files_index(case), query={"match_all": {}}, refresh=True)
    assert counted(index(tmp_path)) == {"indexed": 3}
    assert len(images(client, case)) == 3
    assert {entry["status"] for entry in ledger(client, case).values()} == {"indexed"}


def test_two_indexers_at_once_agree_on_which_path_came_first(
    client: Elasticsearch, case: str, embedder: Embedder, tmp_path: Path
) -> None:
    for seed in range(20):
        picture = save_picture(tmp_path / "one" / f"one-{seed}.png", seed)
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / "two" / f"two-{seed}.png")
    indexers = [Indexer(client, case, embedder) for _ in range(2)]
    threads = [
        threading.Thread(target=indexer.index, args=(list(scan(tmp_path / name)), lambda _: None))
        for indexer, name in zip(indexers, ("one", "two"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [entry["status"] for entry in ledger(client, case).values()]
    assert (statuses.count("indexed"), statuses.count("duplicate")) == (20, 20)
    assert all(len(document["paths"]) == 2 for document in images(client, case).values())


def test_an_empty_folder_is_no_error(index: Index, tmp_path: Path) -> None:
    assert counted(index(tmp_path)) == {}


def test_files_may_come_from_anywhere(client: Elasticsearch, case: str, embedder: Embedder) -> None:
    indexer = Indexer(client, case, embedder)
    indexer.index([EvidenceFile(Path("/nowhere/a.png"))], lambda _: None)
    assert counted(indexer.counts) == {"unreadable": 1}
