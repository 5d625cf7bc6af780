"""Decoding in separate processes: whatever a file does to its decoder, the run continues."""

import json
import os
import signal
import subprocess
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
from simquery.pictures.formats import decoded_formats
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


def start_decoders_after(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let decoders execute a program before they begin."""
    interpreter, option, command, start, *arguments = decoding.decoder_command()
    before, main = start.split("from simquery", 1)
    changed = [interpreter, option, command, f"{before}\n{program}\nfrom simquery{main}", *arguments]
    monkeypatch.setattr(decoding, "decoder_command", lambda *descriptors: [*changed, *map(str, descriptors)])


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


@pytest.mark.parametrize("suffix", ["jpg", "webp", "heic", "avif", "jp2", "jxl", "tif"])
def test_codecs_with_threads_of_their_own_work_in_the_sandbox(
    decoders: Decoders, tmp_path: Path, suffix: str, log: pytest.LogCaptureFixture
) -> None:
    decoded_formats()
    large = Image.fromarray(pixels(9)).resize((2000, 1500), Image.Resampling.BICUBIC)
    large.save(tmp_path / f"large.{suffix}")
    fields, _ = decoded(decoders, tmp_path / f"large.{suffix}", thumbnail=True)
    assert (fields["width"], fields["height"]) == (2000, 1500)
    assert not log.records


def test_a_name_that_is_not_utf8_is_decoded(decoders: Decoders, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9\n\"'.png"))
    assert decoded(decoders, path)[0]["format"] == "PNG"


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGSEGV, PictureError, r"its decoder crashed \(SIGSEGV\)"),
        (signal.SIGPROF, PictureError, "takes more than 60 seconds of processor time"),
        (signal.SIGALRM, UnreadError, "could not be read within 300 seconds"),
        (signal.SIGKILL, UnreadError, "perhaps because memory ran out"),
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
    start_decoders_after(monkeypatch, "import simquery.pictures.sandbox as limits; limits.CPU_SECONDS = 0.05")
    outcome = decoders.decode(tmp_path / "slow.png", room())
    with pytest.raises(PictureError, match="takes more than 60 seconds of processor time"):
        raise outcome if isinstance(outcome, PictureError) else AssertionError(outcome)


def test_the_largest_picture_needs_no_more_memory_than_a_decoder_has(decoders: Decoders, tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(tmp_path / "bits.png")
    assert decoded(decoders, tmp_path / "bits.png")[0]["width"] == 13_000


def test_the_widest_strip_is_a_picture(decoders: Decoders, tmp_path: Path) -> None:
    Image.new("1", (178_956_970, 1), 1).save(tmp_path / "wide.png")
    fields, arrays = decoded(decoders, tmp_path / "wide.png", thumbnail=True)
    assert (fields["width"], fields["height"]) == (178_956_970, 1)
    assert (arrays[0] == 255).all()


def test_a_picture_that_needs_too_much_memory_says_so_and_leaves_its_decoder_alive(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real limit, made small, and a real picture that needs more."""
    start_decoders_after(monkeypatch, "import simquery.pictures.sandbox as limits; limits.MEMORY = 400 << 20")
    path = save_picture(tmp_path / "a.png")
    decoded(decoders, path)
    running = set(decoders._running)
    Image.new("1", (13_000, 13_000)).save(tmp_path / "large.png")
    outcome = decoders.decode(tmp_path / "large.png", room())
    assert type(outcome) is UnreadError
    assert str(outcome) == "too large for the memory of this machine"
    decoded(decoders, path)
    assert decoders._running == running


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
    """Running simquery in the evidence folder must not run code from that folder."""
    for name in ("numpy.py", "PIL.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])  # as `python -m simquery` there would have it
    assert decoded(decoders, save_picture(tmp_path / "a.png"))[0]["format"] == "PNG"


def test_a_decoder_that_cannot_start_ends_the_run_and_blames_no_picture(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "decoder_command", lambda *_: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(SimqueryError, match="cannot be started"):
        decoders.decode(save_picture(tmp_path / "a.png"), room())


PROBE = """
import errno, os, signal, socket, threading
import simquery.pictures.decoder as decoder

ATTEMPTS = {
    "read the environment": lambda: open("/proc/self/environ", "rb"),
    "read another file": lambda: open("/etc/hostname", "rb"),
    "list a folder": lambda: os.listdir("/"),
    "write a file": lambda: os.open("/dev/null", os.O_WRONLY),
    "rename a file": lambda: os.rename("/nowhere", "/nowhere"),
    "delete a file": lambda: os.unlink("/nowhere"),
    "reach the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "reach a local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "start a program": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "become a program": lambda: os.execv("/nowhere", ["nowhere"]),
    "fork": lambda: os.fork() or os._exit(0),
    "signal the run": lambda: os.kill(RUN, 0),
}

def answer(request, file, alone):
    outcomes = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            outcomes[name] = "done"
        except OSError as error:
            outcomes[name] = errno.errorcode[error.errno]
    thread = threading.Thread(target=file.read)
    thread.start()
    thread.join()
    found = {"outcomes": outcomes, "environment": sorted(os.environ), "read": file.tell()}
    return {"error": "PictureError", "reason": json.dumps(found)}, []

decoder.answer = answer
"""


@pytest.mark.parametrize("sandboxed", [True, False])
def test_who_takes_over_a_decoder_can_do_nothing_with_it(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sandboxed: bool
) -> None:
    """The same attempts without the sandbox show that it is what stops them."""
    monkeypatch.setenv("SIMQUERY_PASSWORD", "hunter2")
    open_doors = "import simquery.pictures.sandbox as walls; walls.enter_sandbox = lambda: None"
    start_decoders_after(monkeypatch, f"RUN = {os.getpid()}" + PROBE + ("" if sandboxed else open_doors))
    path = save_picture(tmp_path / "a.png")
    found = json.loads(str(decoders.decode(path, [])))
    refused = {name for name, outcome in found["outcomes"].items() if outcome == "EPERM"}
    assert refused == (set(found["outcomes"]) if sandboxed else set())
    assert not [name for name in found["environment"] if "SIMQUERY" in name or "PATH" in name]
    assert found["read"] == path.stat().st_size


def test_where_there_is_no_sandbox_the_log_says_so_once(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    decoding._warn_of_no_sandbox.cache_clear()
    start_decoders_after(
        monkeypatch,
        "import simquery.pictures.sandbox as walls\n"
        "def none(): raise walls.SandboxError(38, 'the kernel refuses a filter')\n"
        "walls.enter_sandbox = none",
    )
    path = save_picture(tmp_path / "a.png")
    another = Decoders(1)
    for each in (decoders, another):
        decoded(each, path)
    another.close()
    assert [record.message for record in log.records] == [
        "This machine decodes pictures without a sandbox (the kernel refuses a filter): a hostile picture that takes"
        " over its decoder could read files and reach the network. Memory and time are still limited."
    ]


def test_a_decoder_that_answers_nonsense_costs_one_picture(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    for nonsense in ([], {"error": "SystemExit", "reason": ""}, {"fields": {"sha256": "0"}}):
        with monkeypatch.context() as patch:
            start_decoders_after(
                patch, f"import simquery.pictures.decoder as d; d.answer = lambda *_: ({nonsense}, [])"
            )
            outcome = decoders.decode(path, [])
        with pytest.raises(PictureError, match="invalid answer"):
            raise outcome if isinstance(outcome, PictureError) else AssertionError(outcome)
    np.testing.assert_array_equal(decoded(decoders, path)[1][0], pixels(1))


def test_decoding_imports_nothing_that_a_sandbox_would_refuse(tmp_path: Path) -> None:
    decoded_formats()
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (
        "jpg",
        "png",
        "gif",
        "tif",
        "bmp",
        "webp",
        "heic",
        "avif",
        "jp2",
        "jxl",
        "ico",
        "tga",
        "ppm",
        "sgi",
        "dds",
    ):
        save_picture(tmp_path / f"a.{suffix}", exif=exif)
    Image.fromarray(pixels(1)).convert("P").save(tmp_path / "palette.png", transparency=3)
    Image.fromarray(pixels(1)).convert("CMYK").save(tmp_path / "print.jpg")
    program = (
        "import sys, pathlib\n"
        "from simquery.pictures.decoder import answer, import_everything\n"
        "import_everything()\n"
        "before = set(sys.modules)\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    with path.open('rb') as file:\n"
        "        header, _ = answer({'sizes': [(9, 9)], 'thumbnail': True}, file)\n"
        "        assert 'fields' in header, (path, header)\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
