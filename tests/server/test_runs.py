"""What ends a run and what does not: stalled reads, stops, odd networks, huge files, lost answers, hostile content."""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from simquery.cluster.waiting import Cluster, Operation
from simquery.embedders import Features, Pixels
from simquery.errors import EmbedderError, OutOfMemoryError, PictureError, UnforeseenError
from simquery.indexer import Counts, Details, EvidenceFile, Indexer, Selection, embedding, hashing, images, run, scan
from simquery.indexer.hashing import hash_file
from simquery.indexer.ledger import Entry, Ledger, gone_entry
from simquery.mappings import files_index, images_index
from simquery.pictures.decoders import Decoders
from simquery.pictures.formats import decoded_formats
from tests.conftest import save_picture
from tests.plain import Mean
from tests.server.test_evidence import differences, indexed
from tests.server.test_indexing import counted, ledger
from tests.server.test_indexing import images as documents


def silent(_: Counts) -> None:
    pass


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What stalled reads wait for; set at the end, and then the threads that a run has left behind end."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith(("reader", "preparer", "writer")):
            thread.join(60)


def test_an_indexer_can_be_used_again_after_a_run_that_failed(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed in range(200):
        save_picture(tmp_path / f"{seed}.png", seed)
    indexer = Indexer(client, case, Mean())

    def fail(_: Counts) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        indexer.index(scan(tmp_path), fail)
    indexer.index(scan(tmp_path), silent)
    assert {entry["status"] for entry in ledger(client, case).values()} == {"indexed"}
    assert len(ledger(client, case)) == 200
    assert differences(client, case, tmp_path) == {}


def decoders_of_this_process() -> list[int]:
    children = [
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return [child for child in children if b"simquery.pictures" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_ctrl_c_ends_a_run_whose_decoders_stall(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "first.png", 1000)
    Indexer(client, case, Mean()).index(scan(tmp_path), silent)
    for seed in range(64):
        save_picture(tmp_path / f"{seed}.png", seed)
    decode, begun = Decoders.decode, threading.Event()

    def note(self: Decoders, *arguments: Any, **options: Any) -> object:
        begun.set()
        return decode(self, *arguments, **options)

    def files() -> Iterator[EvidenceFile]:
        yield from scan(tmp_path)
        begun.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(Decoders, "decode", note)
    stalled = decoders_of_this_process()
    assert stalled
    for process in stalled:
        os.kill(process, signal.SIGSTOP)  # as one that waits for a dead network share
    indexer = Indexer(client, case, Mean())
    with pytest.raises(KeyboardInterrupt):
        indexer.index(files(), silent)
    for process in stalled:
        with contextlib.suppress(ProcessLookupError):  # those that the run waited for have been killed
            os.kill(process, signal.SIGCONT)
    indexer.index(scan(tmp_path), silent)
    assert indexer.counts.indexed == 64
    assert differences(client, case, tmp_path) == {}


def test_ctrl_c_ends_a_run_while_a_file_cannot_be_read(
    client: Elasticsearch,
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    released: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_picture(tmp_path / "a.png")
    stalled = threading.Event()

    def hash_never(file: EvidenceFile, *limits: Any) -> object:
        stalled.set()
        released.wait()
        return hash_file(file, *limits)

    def files() -> Iterator[EvidenceFile]:
        yield from list(scan(tmp_path)) * 64
        stalled.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(hashing, "hash_file", hash_never)
    monkeypatch.setattr(run, "_FAREWELL_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        Indexer(client, case, Mean()).index(files(), silent)
    assert "ends without waiting" in caplog.text
    assert ledger(client, case) == {}


def test_times_that_cannot_be_stored_do_not_end_a_run(
    client: Elasticsearch, case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_picture(tmp_path / "a.png")
    indexed(client, case, tmp_path)
    save_picture(tmp_path / "b.png", 1)
    client.indices.put_settings(index="simquery-timings", settings={"index.blocks.write": True})
    try:
        assert counted(indexed(client, case, tmp_path)) == {"indexed": 1, "unchanged": 1}
    finally:
        client.indices.put_settings(index="simquery-timings", settings={"index.blocks.write": None})
    assert "the run continues" in caplog.text


class Forgetful(Cluster):
    """Makes each write twice, as after an answer that was lost."""

    def bulk(self, index: str, operations: Any, **options: Any) -> list[dict[str, Any]]:
        twice: list[Operation] = list(operations)
        super().bulk(index, twice, **options)
        return super().bulk(index, twice, **options)


def entries_of(book: Ledger, folder: Path) -> list[Entry]:
    return [entry for group in book.below(folder) for entry in group]


def test_an_answer_that_was_lost_leaves_no_earlier_entry(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    indexed(client, case, tmp_path)
    book = Ledger(Forgetful(client), files_index(case))
    book.record([gone_entry(entry) for entry in entries_of(book, tmp_path)])
    entry = ledger(client, case)["a.png"]
    assert "gone_at" in entry
    assert "earlier" not in entry


def test_two_who_find_a_path_gone_agree_on_when(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    indexed(client, case, tmp_path)
    book = Ledger(Cluster(client), files_index(case))
    (entry,) = entries_of(book, tmp_path)
    for moment in ("2020-01-01T00:00:00.000+00:00", "2020-01-01T00:00:01.000+00:00"):
        book.record([Entry(**{**vars(entry), "gone_at": moment})])
    stored = ledger(client, case)["a.png"]
    assert stored["gone_at"] == "2020-01-01T00:00:00.000+00:00"
    assert "earlier" not in stored


def test_an_entry_that_vanished_is_written_anew(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    indexed(client, case, tmp_path)
    book = Ledger(Cluster(client), files_index(case))
    entries = entries_of(book, tmp_path)
    client.delete_by_query(index=files_index(case), query={"match_all": {}}, refresh=True)
    book.record(entries)
    assert ledger(client, case)["a.png"]["sha256"] == entries[0].sha256


class Odd:
    """A network whose vectors depend on how bright a picture is, and are of no use for most."""

    name = "odd"
    dims = 3
    input_size = (8, 8)
    fingerprint = "5" * 64
    kinds: tuple[list[float], ...] = (
        [1.0, 2.0, 3.0],
        [1e30, 0.0, 0.0],
        [float("nan"), 1.0, 1.0],
        [float("inf"), 1.0, 1.0],
        [1.0, 2.0],
        [0.0, 0.0, 0.0],
        [1e-30, 0.0, 0.0],
    )

    def embed(self, batch: Pixels) -> Features:
        return [np.array(self.kinds[int(picture.mean()) // 30], np.float32) for picture in batch]  # type: ignore[return-value]


def test_vectors_that_cannot_be_used_are_refused_by_name_for_each_picture(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    for kind in range(len(Odd.kinds)):
        Image.new("RGB", (20, 20), (30 * kind + 15,) * 3).save(tmp_path / f"{kind}.png")
    indexer = Indexer(client, case, Odd())
    indexer.index(scan(tmp_path), silent)
    assert counted(indexer.counts) == {"indexed": 1, "unreadable": 6}
    assert {name: entry.get("reason") for name, entry in ledger(client, case).items()} == {
        "0.png": None,
        "1.png": "model 'odd' gives numbers for it that are too large or too small to compare",
        "2.png": "model 'odd' gives numbers for it that are not finite",
        "3.png": "model 'odd' gives numbers for it that are not finite",
        "4.png": "model 'odd' gives 2 numbers for it instead of 3",
        "5.png": "model 'odd' finds nothing in it (all numbers are zero)",
        "6.png": "model 'odd' gives numbers for it that are too large or too small to compare",
    }
    assert differences(client, case, tmp_path) == {}
    again = Indexer(client, case, Odd())
    again.index(scan(tmp_path), silent)
    assert counted(again.counts) == {"unchanged": 7}


class Short(Mean):
    """A network that forgets a picture."""

    def embed(self, batch: Pixels) -> Features:
        return super().embed(batch[1:])


def test_a_network_that_forgets_a_picture_is_named(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    with pytest.raises(EmbedderError, match="Model 'mean' returns 0 vectors for 1 pictures"):
        Indexer(client, case, Short()).index(scan(tmp_path), silent)


class Hungry(Mean):
    """A network for which the memory does not suffice."""

    def embed(self, _: Pixels) -> Features:
        raise MemoryError


def test_a_lack_of_memory_says_for_what_and_what_helps(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    with pytest.raises(OutOfMemoryError) as raised:
        Indexer(client, case, Hungry()).index(scan(tmp_path), silent)
    message = str(raised.value)
    assert "embedding 1 pictures with model 'mean'" in message
    assert str(tmp_path / "a.png") in message
    assert "Close other programs" in message


def test_an_unforeseen_error_says_with_which_file(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(hashing, "hash_file", fail)
    with pytest.raises(UnforeseenError, match=r"while hashing '.*/a.png': ZeroDivisionError: division by zero"):
        Indexer(client, case, Mean()).index(scan(tmp_path), silent)


def test_reasons_rules_and_names_longer_than_the_index_takes_are_cut(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wordy(Mean):
        inference = "x" * 100_000

    save_picture(tmp_path / "a.png", 1)
    save_picture(tmp_path / "b.png", 2)
    save_picture(tmp_path / "c.jpg", 3)
    decode = Decoders.decode

    def complain(self: Decoders, path: Path, *arguments: Any, **options: Any) -> object:
        outcome = decode(self, path, *arguments, **options)
        return PictureError("\N{SNOWMAN}\udcff" * 40_000) if path.name == "b.png" else outcome

    monkeypatch.setattr(Decoders, "decode", complain)
    selection = Selection((tmp_path,), (*(f"{number}.tif" for number in range(10_000)), "*.png"))
    for expected in ({"indexed": 1, "unreadable": 1, "skipped": 1}, {"unchanged": 3}):
        indexer = Indexer(client, case, Wordy())
        indexer.index(selection.of(scan(tmp_path)), silent)
        assert counted(indexer.counts) == expected
    assert ledger(client, case)["b.png"]["reason"].startswith("\N{SNOWMAN}\\udcff")
    assert ledger(client, case)["c.jpg"]["rule"].startswith("--include 0.tif")


def test_a_sparse_file_of_terabytes_is_recorded_and_tried_again_with_another_limit(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    save_picture(tmp_path / "b.png")
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(15 * 10**12)
    assert counted(indexed(client, case, tmp_path)) == {"indexed": 1, "unreadable": 1}
    entry = ledger(client, case)["a.jpg"]
    assert entry["reason"] == "left out by --large-minutes 10: hashing its 15,000,000,000,000 bytes takes longer"
    assert "sha256" not in entry
    assert counted(indexed(client, case, tmp_path)) == {"unchanged": 2}
    assert counted(indexed(client, case, tmp_path, Details(large_minutes=0.01))) == {"unchanged": 1, "unreadable": 1}
    assert differences(client, case, tmp_path, rehash=True) == {}


def test_large_files_come_last(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": 5000, "b": 3000, "c": 10, "d": 20}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(name.encode() * size)
    order = []

    def note(file: EvidenceFile, *limits: Any) -> object:
        order.append(file.size)
        return hash_file(file, *limits)

    monkeypatch.setattr(hashing, "hash_file", note)
    monkeypatch.setattr(run, "LARGE_BYTES", 1000)
    monkeypatch.setattr(run, "_LARGE_AT_ONCE", 1)
    Indexer(client, case, Mean()).index(scan(tmp_path), silent)
    assert sorted(order[:2]) == [10, 20]
    assert order[2:] == [3000, 5000]
    assert len(ledger(client, case)) == 4


def test_a_content_at_very_many_paths_asks_the_server_no_more_once_its_list_is_full(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PATHS_LISTED", 10)
    monkeypatch.setattr(embedding, "_FIRST_BATCH", 16)
    first = save_picture(tmp_path / "000" / "a.png")
    for number in range(1, 200):
        (tmp_path / f"{number:03}").mkdir()
        os.link(first, tmp_path / f"{number:03}" / "a.png")

    def run_once() -> int:
        before = updates(client, case)
        counts = indexed(client, case, tmp_path, Details(label_folders=True))
        assert counts.seen == 200
        return updates(client, case) - before

    assert run_once() <= 3
    (document,) = documents(client, case, "mean").values()
    assert len(document["paths"]) == len(document["labels"]) == 10
    assert differences(client, case, tmp_path) == {}


def updates(client: Elasticsearch, case: str) -> int:
    """How many documents of pictures the server has written or been asked to change."""
    found = client.indices.stats(index=images_index(case, "mea*"), metric="indexing")["indices"].values()
    done = [index["primaries"]["indexing"] for index in found]
    return sum(each["index_total"] + each["noop_update_total"] for each in done)


def test_two_indexers_on_the_same_folder_at_once_agree(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed in range(150):
        save_picture(tmp_path / f"{seed}.png", seed % 120)
    indexers = [Indexer(client, case, Mean()) for _ in range(2)]
    threads = [threading.Thread(target=each.index, args=(list(scan(tmp_path)), silent)) for each in indexers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [entry["status"] for entry in ledger(client, case).values()]
    assert (statuses.count("indexed"), statuses.count("duplicate")) == (120, 30)
    assert len(documents(client, case, "mean")) == 120
    assert differences(client, case, tmp_path, rehash=True) == {}


MODES = ("RGB", "L", "1", "P", "RGBA", "CMYK", "I;16", "F")

# How often each picture is damaged in each way: 25 gives more than 5,000 hostile files.
ROUNDS = int(os.environ.get("SIMQUERY_TEST_ROUNDS", "1"))


def written(folder: Path) -> list[Path]:
    """A picture in every format that Pillow can write, in a mode that it takes."""
    decoded_formats()
    picture = Image.open(save_picture(folder / "whole.png", 7))
    paths = []
    for suffix, kind in sorted(Image.registered_extensions().items()):
        if kind not in Image.SAVE:
            continue
        for mode in MODES:
            path = folder / f"whole-{mode.replace(';', '-')}{suffix}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of formats that Pillow will give up
                    picture.convert(mode).save(path, kind)
            except (OSError, ValueError, KeyError, AttributeError, TypeError):
                path.unlink(missing_ok=True)  # the format has no such mode, or needs another program
            else:
                paths.append(path)
                break
    return paths


def damages(content: bytes, random: np.random.Generator) -> list[bytes]:
    """The content truncated, with bits flipped, with a part zeroed, and with the first bytes of another format."""
    half = random.integers(len(content) // 4, len(content))
    flipped, zeroed = bytearray(content), bytearray(content)
    for place in random.integers(0, len(content), 20):
        flipped[place] ^= 1 << random.integers(0, 8)
    zeroed[half // 2 : half] = bytes(half - half // 2)
    return [content[:half], bytes(flipped), bytes(zeroed), b"\x89PNG\r\n\x1a\n" + content[8:]]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("damaged"), np.random.default_rng(14)
    for path in written(folder):
        whole = path.read_bytes()
        for number, content in enumerate(chain.from_iterable(damages(whole, random) for _ in range(ROUNDS))):
            path.with_name(f"{path.stem}-{number}{path.suffix}").write_bytes(content)
    for number, suffix in enumerate(("jpg", "png", "tif", "gif", "webp", "heic")):
        (folder / f"random-{number}.{suffix}").write_bytes(random.bytes(3000))
        (folder / f"zero-{number}.{suffix}").write_bytes(bytes(3000))
        (folder / f"empty-{number}.{suffix}").touch()
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))  # older than it is changed: reading it would alter its access time
    return folder


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    facts: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.iterdir()):
        before = path.stat()
        times = (before.st_atime_ns, before.st_mtime_ns, before.st_ctime_ns)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOATIME)
        with os.fdopen(descriptor, "rb") as file:
            facts[path.name] = (before.st_mode, before.st_size, *times, file.read())
    return facts


def test_damaged_files_of_every_format_are_all_accounted_for_and_none_is_altered(
    client: Elasticsearch, case: str, damaged: Path
) -> None:
    before = state(damaged)
    assert len(before) > 200
    counts = indexed(client, case, damaged, Details(thumbnails=True))
    assert counts.seen == len(before)
    assert counts.indexed > 50
    assert counts.unreadable > 50
    entries = entries_of(Ledger(Cluster(client), files_index(case)), damaged)
    assert {entry.file.path.name for entry in entries} == set(before)
    assert all(entry.reason for entry in entries if entry.status in {"unreadable", "skipped"})
    assert differences(client, case, damaged, rehash=True) == {}
    assert state(damaged) == before
