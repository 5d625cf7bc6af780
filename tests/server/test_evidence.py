"""The indexer on realistic evidence: facts, formats, options, interruptions, a server that is away."""

import base64
import contextlib
import io
import json
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from elastic_transport import TransportError
from elasticsearch import Elasticsearch
from PIL import Image
from pydantic import AnyHttpUrl

from simquery.cli.main import cli
from simquery.cluster import connect
from simquery.embedders import build_embedder
from simquery.errors import ClusterError, SchemaError
from simquery.indexer import (
    Counts,
    Details,
    EvidenceFile,
    Indexer,
    Selection,
    Verifier,
    check_folders,
    hashing,
    images,
    scan,
)
from simquery.indexer.hashing import hash_file
from simquery.indexer.ledger import Ledger
from simquery.mappings import files_index, images_index
from simquery.pictures.formats import decoded_formats
from simquery.settings import Settings
from tests.conftest import save_picture
from tests.plain import Mean, Wide
from tests.server.test_indexing import Blind, Index, counted, ledger
from tests.server.test_indexing import images as documents
from tests.unit.test_facts import photographed

ROOT = Path(__file__).resolve().parents[2]


def indexed(
    client: Elasticsearch,
    case: str,
    folder: Path,
    details: Details = Details(),  # noqa: B008
    *,
    missing_is_true: bool = False,
    **rules: object,
) -> Counts:
    folders = check_folders([folder])
    indexer = Indexer(client, case, Mean(), details)
    indexer.index(Selection(folders, **rules).of(scan(folders[0])), lambda _: None)  # type: ignore[arg-type]
    indexer.record_gone(folders[0], missing_is_true=missing_is_true)
    return indexer.counts


def differences(client: Elasticsearch, case: str, folder: Path, *, rehash: bool = False) -> dict[str, str]:
    report = Verifier(client, case).verify(check_folders([folder]), rehash=rehash, progress=lambda _: None)
    return {Path(difference.subject).name: difference.problem for difference in report.differences}


def test_documents_hold_the_facts_of_the_picture(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    photo = save_picture(tmp_path / "knives" / "a.jpg", 1, exif=photographed())
    os.utime(photo, ns=(10**18, 1_600_000_000 * 10**9))
    indexed(client, case, tmp_path, Details(thumbnails=True, label_folders=True))
    (document,) = documents(client, case, "mean").values()
    assert document["camera"] == "Canon EOS 80D"
    assert document["taken_at"] == "2019-07-14T16:20:05"
    assert document["modified_at"] == "2020-09-13T12:26:40.000+00:00"
    assert document["labels"] == ["knives"]
    assert len(document["md5"]) == 32
    assert len(document["perceptual_hash"]) == 16
    assert "truncated" not in document
    with Image.open(io.BytesIO(base64.b64decode(document["thumbnail"]))) as thumbnail:
        assert thumbnail.size == (64, 48)
    near = {"geo_distance": {"distance": "1km", "location": {"lat": 52.37, "lon": -4.9}}}
    for query in (
        near,
        {"term": {"camera": "Canon EOS 80D"}},
        {"range": {"taken_at": {"gte": "2019-07-01", "lt": "2019-08-01"}}},
        {"term": {"md5": document["md5"]}},
        {"term": {"labels": "knives"}},
    ):
        assert client.count(index=images_index(case, "mean"), query=query)["count"] == 1


def test_facts_that_are_not_asked_for_or_not_known_are_absent(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    save_picture(tmp_path / "a.png")
    index(tmp_path)
    (document,) = documents(client, case).values()
    assert not {"camera", "taken_at", "location", "labels", "thumbnail", "truncated"} & set(document)


def test_a_run_leaves_the_busy_times_of_its_stages(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed in range(5):
        save_picture(tmp_path / f"{seed}.png", seed)
    (tmp_path / "text").write_text("dear diary")
    indexer = Indexer(client, case, [Mean(), Wide()])
    for _ in range(2):
        indexer.index(scan(tmp_path), lambda _: None)
    client.indices.refresh(index="simquery-timings")
    found = client.search(index="simquery-timings", query={"term": {"dataset": case}}, size=100)["hits"]["hits"]
    timings = [hit["_source"] for hit in found]
    assert len({timing["run"] for timing in timings}) == 1
    assert all(timing["seconds"] > 0 for timing in timings)
    counts: dict[tuple[str, str | None], int] = defaultdict(int)
    for timing in timings:
        counts[timing["stage"], timing.get("model")] += timing["count"]
    assert counts == {
        ("read", None): 12,  # the second time nothing was new
        ("decode", None): 6,
        ("embed", "mean"): 5,
        ("embed", "wide"): 5,
        ("write", None): 6,
    }


def test_a_document_says_what_computed_its_vector(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    save_picture(tmp_path / "a.png")
    index(tmp_path)
    (document,) = documents(client, case).values()
    assert document["inference"] == "tensorflow"


def test_vectors_of_another_precision_are_refused(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    save_picture(tmp_path / "a.png")
    index(tmp_path)
    with pytest.raises(SchemaError, match="another precision"):
        Indexer(client, case, build_embedder(Settings(model="mini", precision="mixed")))


def test_a_content_that_two_runs_store_at_once_has_one_document_with_both_paths(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        save_picture(tmp_path / name / "same.png", 1)
    store, both_have_looked = images.Images.store, threading.Barrier(2)

    def store_when_both_have_looked(self: images.Images, occurrences: object) -> dict[str, str]:
        both_have_looked.wait(30)
        return store(self, occurrences)  # type: ignore[arg-type]

    monkeypatch.setattr(images.Images, "store", store_when_both_have_looked)
    indexers = [Indexer(client, case, Mean()) for _ in range(2)]
    runs = zip(indexers, ("a", "b"), strict=True)
    threads = [threading.Thread(target=each.index, args=(scan(tmp_path / name), lambda _: None)) for each, name in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (document,) = documents(client, case, "mean").values()
    assert sorted(document["paths"]) == [str(tmp_path / name / "same.png") for name in ("a", "b")]
    assert sorted(entry["status"] for entry in ledger_by_path(client, case).values()) == ["duplicate", "indexed"]
    assert differences(client, case, tmp_path) == {}


def ledger_by_path(client: Elasticsearch, case: str) -> dict[str, dict[str, str]]:
    client.indices.refresh(index=files_index(case))
    hits = client.search(index=files_index(case), size=100)["hits"]["hits"]
    return {hit["_source"]["path"]: hit["_source"] for hit in hits}


def test_copies_in_several_folders_have_several_labels(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    first = save_picture(tmp_path / "cats" / "a.png")
    for name in ("dogs", "birds"):
        (tmp_path / name).mkdir()
        shutil.copy(first, tmp_path / name / "a.png")
        indexed(client, case, tmp_path, Details(label_folders=True))
    (document,) = documents(client, case, "mean").values()
    assert sorted(document["labels"]) == ["birds", "cats", "dogs"]


def test_a_truncated_photo_is_indexed_and_marked(
    client: Elasticsearch, case: str, index: Index, tmp_path: Path
) -> None:
    path = save_picture(tmp_path / "cut.jpg", 1, quality=95)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert counted(index(tmp_path)) == {"indexed": 1}
    (document,) = documents(client, case).values()
    assert document["truncated"] is True


def test_pictures_of_phones_are_indexed(client: Elasticsearch, case: str, index: Index, tmp_path: Path) -> None:
    decoded_formats()
    for suffix in ("heic", "avif", "jp2"):
        save_picture(tmp_path / f"a.{suffix}", 3)
    assert counted(index(tmp_path)) == {"indexed": 3}
    assert {document["format"] for document in documents(client, case).values()} == {"HEIF", "AVIF", "JPEG2000"}


def test_what_an_option_leaves_out_is_recorded_and_looked_at_without_it(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    for name in ("a.png", "cache/b.png", "c.JPG"):
        save_picture(tmp_path / name, len(name))
    Image.new("RGB", (16, 64), "red").save(tmp_path / "icon.png")
    rules = {"include": ("*.png",), "exclude": ("cache/*",)}
    small = Details(min_side=32)
    assert counted(indexed(client, case, tmp_path, small, **rules)) == {"indexed": 1, "skipped": 3}
    reasons = {name: entry.get("reason") for name, entry in ledger(client, case).items()}
    assert reasons == {
        "a.png": None,
        "b.png": "left out by --exclude cache/*",
        "c.JPG": "left out by --include *.png",
        "icon.png": "left out by --min-size 32",
    }
    assert counted(indexed(client, case, tmp_path, small, **rules)) == {"unchanged": 4}
    assert counted(indexed(client, case, tmp_path)) == {"indexed": 3, "unchanged": 1}
    assert counted(indexed(client, case, tmp_path, small, **rules)) == {"unchanged": 4}
    assert differences(client, case, tmp_path) == {}


def test_the_parts_of_a_partition_are_the_whole(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed in range(20):
        save_picture(tmp_path / f"{seed}.png", seed)
    parts = [indexed(client, case, tmp_path, part=part, parts=3).indexed for part in (1, 2, 3)]
    assert sum(parts) == 20
    assert all(0 < part < 20 for part in parts)
    assert differences(client, case, tmp_path) == {}


def test_several_models_share_one_reading(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        save_picture(tmp_path / f"{seed}.png", seed)
    Image.new("RGB", (20, 20)).save(tmp_path / "dark.png")
    hashed = []

    def hash_and_count(file: EvidenceFile, *limits: Any) -> object:
        hashed.append(file)
        return hash_file(file, *limits)

    monkeypatch.setattr(hashing, "hash_file", hash_and_count)
    indexer = Indexer(client, case, [Mean(), Wide(), Blind()])
    indexer.index(scan(tmp_path), lambda _: None)
    assert counted(indexer.counts) == {"indexed": 6}
    assert len(hashed) == 6
    assert len(documents(client, case, "mean")) == len(documents(client, case, "wide")) == 6
    assert len(documents(client, case, "blind")) == 5
    entry = ledger(client, case)["dark.png"]
    assert (entry["models"], entry["refused_by"]) == (["mean", "wide"], ["blind"])
    assert differences(client, case, tmp_path) == {}
    again = Indexer(client, case, [Mean(), Wide(), Blind()])
    again.index(scan(tmp_path), lambda _: None)
    assert counted(again.counts) == {"unchanged": 6}


def test_two_indexers_with_different_models_do_not_overwrite_each_other(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "a.png")
    record = Ledger.record
    both_have_looked = threading.Barrier(2)

    def record_when_both_have_looked(self: Ledger, entries: object) -> None:
        both_have_looked.wait(30)
        record(self, entries)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "record", record_when_both_have_looked)
    indexers = [Indexer(client, case, embedder) for embedder in (Mean(), Wide())]
    threads = [threading.Thread(target=each.index, args=(list(scan(tmp_path)), lambda _: None)) for each in indexers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger(client, case)["a.png"]["models"] == ["mean", "wide"]


def test_what_goes_is_recorded_and_what_comes_back_is_looked_at_again(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    kept = [save_picture(tmp_path / "stick" / f"{seed}.png", seed) for seed in range(3)]
    indexed(client, case, tmp_path)
    (tmp_path / "stick").rename(tmp_path.parent / f"{tmp_path.name}-away")
    assert counted(indexed(client, case, tmp_path, missing_is_true=True)) == {"gone": 3}
    entries = ledger(client, case)
    assert all(entry["gone_at"] and entry["status"] == "indexed" for entry in entries.values())
    assert len(documents(client, case, "mean")) == 3
    assert differences(client, case, tmp_path) == {}

    (tmp_path.parent / f"{tmp_path.name}-away").rename(tmp_path / "stick")
    kept[0].unlink()
    assert counted(indexed(client, case, tmp_path)) == {"indexed": 2}
    again = ledger(client, case)
    assert "gone_at" in again["0.png"]
    assert "gone_at" not in again["1.png"]
    assert [earlier["gone_at"] for earlier in again["1.png"]["earlier"]] == [entries["1.png"]["gone_at"]]
    assert differences(client, case, tmp_path) == {}


def test_a_content_at_very_many_paths_lists_some_and_the_ledger_has_all(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PATHS_LISTED", 10)
    first = save_picture(tmp_path / "000.png")
    for number in range(1, 100):
        os.link(first, tmp_path / f"{number:03}.png")
    assert counted(indexed(client, case, tmp_path)) == {"indexed": 1, "duplicate": 99}
    (document,) = documents(client, case, "mean").values()
    assert [Path(path).name for path in document["paths"]] == [f"{number:03}.png" for number in range(10)]
    assert len(ledger(client, case)) == 100
    assert differences(client, case, tmp_path) == {}


def test_verify_says_what_differs(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed, name in enumerate(("same", "changed", "rewritten", "gone", "unknown", "undocumented", "bent")):
        if name != "unknown":
            save_picture(tmp_path / f"{name}.png", seed)
    indexed(client, case, tmp_path)
    assert differences(client, case, tmp_path, rehash=True) == {}
    save_picture(tmp_path / "changed.png", 50)
    os.utime(tmp_path / "changed.png", ns=(10**18, 10**18))
    rewritten = tmp_path / "rewritten.png"
    times = rewritten.stat()
    content = bytearray(rewritten.read_bytes())
    content[-1] ^= 1
    rewritten.write_bytes(content)
    os.utime(rewritten, ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "gone.png").unlink()
    save_picture(tmp_path / "unknown.png", 4)
    entries = ledger(client, case)
    index = images_index(case, "mean")
    client.delete(index=index, id=entries["undocumented.png"]["sha256"], refresh=True)
    bent = entries["bent.png"]["sha256"]
    client.update(index=index, id=bent, doc={"norm": 1.0}, refresh=True)
    found = differences(client, case, tmp_path, rehash=True)
    assert {name: problem.split(" SHA-256 ")[0] for name, problem in found.items()} == {
        "changed.png": "has the",
        "rewritten.png": "has the",
        "gone.png": "is in the ledger but no longer exists",
        "unknown.png": "is not in the ledger",
        "undocumented.png": "has no document of model 'mean'",
        bent: found[bent],
    }
    assert "and norm 1.0 beside it" in found[bent]
    assert set(differences(client, case, tmp_path)) == set(found) - {"rewritten.png"}


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    """Return an event that is set as soon as a run logs that it waits for the cluster."""
    event = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Waiting for at most" in record.getMessage():
                event.set()

    logger, listener = logging.getLogger("simquery.cluster"), Listener()
    logger.addHandler(listener)
    yield event
    logger.removeHandler(listener)


class Door:
    """A connection to the server that can be blocked, as when the server restarts or the network fails."""

    def __init__(self, cluster: Settings) -> None:
        assert cluster.url is not None
        self._target = (str(cluster.url.host), int(cluster.url.port or 0))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._open: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._thread = threading.Thread(target=self._accept, args=(self._server,))
        self._thread.start()

    def shut(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                inside = server.accept()[0]
            except OSError:
                return
            outside = socket.create_connection(self._target)
            self._open += [inside, outside]
            for ways in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._carry, args=ways, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)


@pytest.fixture
def door(cluster: Settings) -> Iterator[Door]:
    door = Door(cluster)
    yield door
    door.shut()


def through(door: Door, cluster: Settings) -> Elasticsearch:
    assert cluster.url is not None
    address = AnyHttpUrl(f"{cluster.url.scheme}://127.0.0.1:{door.port}")
    return connect(cluster.model_copy(update={"url": address}))


def test_a_server_that_is_away_for_a_while_is_waited_for(
    client: Elasticsearch, case: str, cluster: Settings, door: Door, waiting: threading.Event, tmp_path: Path
) -> None:
    for seed in range(200):
        save_picture(tmp_path / f"{seed}.png", seed)
    with through(door, cluster) as fragile:
        indexer = Indexer(fragile, case, Mean())

        def shut_once(counts: Counts) -> None:
            if counts.seen == 64:
                door.shut()
                opener.start()

        opener = threading.Thread(target=lambda: (waiting.wait(60), door.open()))
        indexer.index(scan(tmp_path), shut_once)
        opener.join()
    assert waiting.is_set()
    assert counted(indexer.counts) == {"indexed": 200}
    assert differences(client, case, tmp_path) == {}


def test_a_disk_without_room_is_waited_for(
    client: Elasticsearch, case: str, waiting: threading.Event, tmp_path: Path
) -> None:
    """Elasticsearch blocks its indices when its disk fills up, and answers 429 to every write."""
    save_picture(tmp_path / "a.png")
    indexer = Indexer(client, case, Mean())
    full = {"index.blocks.read_only_allow_delete": True}
    client.indices.put_settings(index=images_index(case, "mean"), settings=full)
    room = {"index.blocks.read_only_allow_delete": None}
    helper = threading.Thread(
        target=lambda: (
            waiting.wait(60),
            client.indices.put_settings(index=images_index(case, "mean"), settings=room),
        )
    )
    helper.start()
    indexer.index(scan(tmp_path), lambda _: None)
    helper.join()
    assert waiting.is_set()
    assert counted(indexer.counts) == {"indexed": 1}


def test_patience_has_an_end(case: str, cluster: Settings, door: Door, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    with through(door, cluster) as fragile:
        indexer = Indexer(fragile, case, Mean(), patience_seconds=0.1)
        door.shut()
        with pytest.raises(TransportError):
            indexer.index(scan(tmp_path), lambda _: None)
        door.open()


def test_what_is_refused_for_good_is_not_waited_for(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    indexer = Indexer(client, case, Mean())
    client.indices.put_settings(index=files_index(case), settings={"index.blocks.write": True})
    with pytest.raises(ClusterError, match="refused to store"):
        indexer.index(scan(tmp_path), lambda _: None)


def hostile_names() -> list[bytes]:
    return [
        b"line\nbreak.png",
        b"'quotes\"`.png",
        "\N{HOCHO}\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}gpj.png".encode(),
        b"x" * 251 + b".png",
        b"\xff\xfe\x80.png",
        b"-rf *;$(id).png",
        b" ",
        b"\\x41.png",
    ]


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Damage a file as broken media do: truncate it, flip bits, overwrite parts, or change its header."""
    values = bytearray(content)
    kind = random.integers(0, 5)
    if kind == 0:
        return bytes(values[: random.integers(0, len(values))])
    if kind == 1:
        for place in random.integers(0, len(values), random.integers(1, 30)):
            values[place] ^= 1 << random.integers(0, 8)
    elif kind == 2:
        start = random.integers(0, len(values))
        values[start : start + 64] = random.bytes(64)
    elif kind == 3:
        values[:8] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x10JF", b"GIF89a\xff\xff", b"RIFF\xff\xff\xff\xff"][
            random.integers(0, 4)
        ]
    else:
        place = random.integers(8, 40)
        values[place : place + 4] = b"\x00\xff\xff\xff"
    return bytes(values)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two thousand files, none of which may stop a run."""
    decoded_formats()
    folder, random = tmp_path_factory.mktemp("hostile"), np.random.default_rng(11)
    for suffix in ("jpg", "png", "gif", "tif", "bmp", "webp", "heic", "avif", "jp2", "ico", "tga", "psd.tif"):
        whole = save_picture(folder / f"whole.{suffix}", 1, exif=photographed().tobytes()).read_bytes()
        for number in range(170):
            path = folder / suffix / f"{number}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(damaged(whole, random))
    for seed, name in enumerate(hostile_names()):
        save_picture(folder / "a.png", seed).rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    (folder / "circle").symlink_to(folder)
    (folder / "self").symlink_to("self")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        before = Path.cwd()
        os.chdir(folder)  # a socket's path must be short
        unix.bind("socket.png")
        os.chdir(before)
    return folder


def test_no_file_of_a_hostile_disk_stops_the_run_and_each_has_its_entry(
    client: Elasticsearch, case: str, hostile: Path
) -> None:
    seen = list(scan(hostile))
    assert len(seen) >= 2000
    counts = indexed(client, case, hostile)
    assert counts.seen == len(seen)
    assert counts.indexed > 300
    assert counts.unreadable > 300
    assert differences(client, case, hostile, rehash=True) == {}
    client.indices.refresh(index=files_index(case))
    left_out = {"terms": {"status": ["unreadable", "skipped"]}}
    no_reason = {"bool": {"filter": left_out, "must_not": {"exists": {"field": "reason"}}}}
    assert client.count(index=files_index(case), query=no_reason)["count"] == 0
    crashed = {"wildcard": {"reason": "its decoder*"}}
    assert client.count(index=files_index(case), query=crashed)["count"] == 0


def test_nothing_in_a_hostile_folder_changes(client: Elasticsearch, case: str, tmp_path: Path) -> None:
    for seed in range(6):
        save_picture(tmp_path / f"{seed % 2}" / f"{seed}.jpg", seed)
    whole = (tmp_path / "1" / "1.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:400])
    (tmp_path / "link").symlink_to("cut.jpg")
    for path in tmp_path.rglob("*"):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)

    def state() -> dict[str, tuple[object, ...]]:
        facts: dict[str, tuple[object, ...]] = {}
        for path in sorted(tmp_path.rglob("*")):
            status = path.lstat()
            times = (status.st_atime_ns,) if stat.S_ISREG(status.st_mode) else ()
            facts[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, *times)
        return facts

    before = state()
    indexed(client, case, tmp_path, Details(thumbnails=True))
    assert differences(client, case, tmp_path, rehash=True) == {}
    assert state() == before


@pytest.mark.usefixtures("command_environment")
def test_runs_that_are_killed_at_any_moment_lose_and_double_nothing(
    client: Elasticsearch, case: str, tmp_path: Path
) -> None:
    """The short form of benchmarks/kills.py."""
    for seed in range(150):
        save_picture(tmp_path / f"{seed}.png", seed % 120)
    script = ROOT / "benchmarks" / "kills.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, "--case", case, "--model", "mean", "--kills", "3", "--json"],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
            "SIMQUERY_EMBEDDERS": '{"mean": "tests.plain:Mean"}',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["kills"], report["lost"], report["doubled"]) == (3, 0, 0)
    assert report["statuses"] == {"indexed": 120, "duplicate": 30, "unreadable": 0, "skipped": 0}
    assert differences(client, case, tmp_path, rehash=True) == {}


@pytest.mark.usefixtures("command_environment")
def test_the_command_takes_several_folders_networks_and_options(
    client: Elasticsearch, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMQUERY_EMBEDDERS", '{"mean": "tests.plain:Mean", "wide": "tests.plain:Wide"}')
    for name in ("one/a.png", "two/b.png", "two/c.tmp", "three/d.png"):
        save_picture(tmp_path / name.replace(".tmp", ".png"), len(name) + ord(name[-5]))
    (tmp_path / "two" / "c.png").rename(tmp_path / "two" / "c.tmp")
    folders = [str(tmp_path / name) for name in ("one", "two")]
    options = ["--exclude", "*.tmp", "--min-size", "20", "--label-folders", "--thumbnails", "--json"]
    result = CliRunner().invoke(cli, ["index", *folders, "--case", case, "--model", "mean,wide", *options])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert (counts["indexed"], counts["skipped"]) == (2, 1)
    for model in ("mean", "wide"):
        found = documents(client, case, model).values()
        assert sorted(document["labels"] for document in found) == [["one"], ["two"]]
        assert all("thumbnail" in document for document in found)
