"""Decoding in processes of their own: whatever a file does to its decoder, the run goes on."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from simquery.errors import PictureError, SimqueryError
from simquery.pictures import decoders as decoding
from simquery.pictures.decoders import Decoders
from simquery.pictures.decoding import NotAPictureError, UnreadError
from simquery.pictures.files import FileState
from tests.conftest import pixels, save_picture


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    decoders = Decoders(1)
    yield decoders
    decoders.close()


def room() -> list[np.ndarray]:
    return [np.zeros((*size, 3), np.uint8) for size in ((48, 64), (10, 20))]


def decoded(decoders: Decoders, path: Path, **options: bool) -> tuple[dict[str, Any], list[np.ndarray]]:
    arrays = room()
    outcome = decoders.decode(path, arrays, **options)
    assert isinstance(outcome, dict), outcome
    return outcome, arrays


def test_fields_and_pixels_arrive_as_they_are(decoders: Decoders, tmp_path: Path) -> None:
    fields, arrays = decoded(decoders, save_picture(tmp_path / "a.png", 1), thumbnail=True)
    assert set(fields) == {"format", "width", "height", "perceptual_hash", "thumbnail"}
    np.testing.assert_array_equal(arrays[0], pixels(1))
    assert arrays[1].any()


def test_errors_keep_their_kind(decoders: Decoders, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("dear diary")
    (tmp_path / "broken").write_bytes(save_picture(tmp_path / "changed.png").read_bytes()[:60])
    kinds = {"text": NotAPictureError, "broken": PictureError, "nowhere": UnreadError}
    for name, kind in kinds.items():
        assert type(decoders.decode(tmp_path / name, room())) is kind
    assert type(decoders.decode(tmp_path / "changed.png", room(), state=FileState(1, 1))) is UnreadError


def test_a_name_that_is_not_utf8_is_decoded(decoders: Decoders, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9\n\"'.png"))
    assert decoded(decoders, path)[0]["format"] == "PNG"


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGSEGV, PictureError, r"its decoder crashed \(SIGSEGV\)"),
        (signal.SIGPROF, PictureError, "takes a processor longer than 60 seconds"),
        (signal.SIGALRM, UnreadError, "could not be read within 300 seconds"),
        (signal.SIGKILL, UnreadError, "perhaps for want of memory"),
    ],
)
def test_a_decoder_that_dies_costs_one_picture(
    decoders: Decoders, tmp_path: Path, number: signal.Signals, kind: type[PictureError], reason: str
) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    decoded(decoders, path)
    (process,) = decoders._running
    process._process.send_signal(number)
    outcome = decoders.decode(path, room())
    assert type(outcome) is kind
    with pytest.raises(kind, match=reason):
        raise outcome
    np.testing.assert_array_equal(decoded(decoders, path)[1][0], pixels(1))


def test_a_picture_that_takes_too_long_is_given_up(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real limit, made short, and a real picture that needs longer."""
    Image.new("L", (13_000, 13_000)).save(tmp_path / "slow.png")
    short = "import simquery.pictures.decoder as d; d.CPU_SECONDS = 0.05; d.main(d.Connection({}), {}, {})"
    start = decoding.decoder_command

    def impatient(*descriptors: int) -> list[str]:
        return [*start(*descriptors)[:2], "-c", short.format(*descriptors)]

    monkeypatch.setattr(decoding, "decoder_command", impatient)
    outcome = decoders.decode(tmp_path / "slow.png", room())
    with pytest.raises(PictureError, match="takes a processor longer"):
        raise outcome if isinstance(outcome, PictureError) else AssertionError(outcome)


def test_the_largest_picture_needs_no_more_memory_than_a_decoder_has(decoders: Decoders, tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(tmp_path / "bits.png")
    assert decoded(decoders, tmp_path / "bits.png")[0]["width"] == 13_000


def test_several_threads_share_the_decoders(tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / f"{seed}.png", seed) for seed in range(40)]
    decoders = Decoders(2)
    found: dict[Path, np.ndarray] = {}

    def work(mine: list[Path]) -> None:
        found.update((path, decoded(decoders, path)[1][0]) for path in mine)

    threads = [threading.Thread(target=work, args=(paths[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoders._running) <= 2
    decoders.close()
    for seed, path in enumerate(paths):
        np.testing.assert_array_equal(found[path], pixels(seed))


def test_the_current_folder_is_not_searched_for_modules(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who works in the evidence folder must not run what lies there."""
    for name in ("numpy.py", "PIL.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert decoded(decoders, save_picture(tmp_path / "a.png"))[0]["format"] == "PNG"


def test_a_decoder_that_cannot_start_ends_the_run_and_blames_no_picture(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "decoder_command", lambda *_: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(SimqueryError, match="cannot be started"):
        decoders.decode(save_picture(tmp_path / "a.png"), room())
