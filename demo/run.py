"""Run by ``make demo``: simquery from an evidence folder to a contact sheet of the ranked pictures.

Every step is a ``simquery`` command that a user could type. At the end, even after a failure or Ctrl-C, the demo stops
the server and deletes its data; the results stay in ``demo-result``. With ``SIMQUERY_URL`` set, the demo uses that
cluster instead, and the case stays there.
"""

import hashlib
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evidence import Evidence, build, drop, shows

_ROOT = Path(__file__).resolve().parent.parent
_RESULT = Path("demo-result")
_EVIDENCE = _RESULT / "evidence"
_QUERIES = {"chelsea.png": "cosine", "coffee.png": "modified"}
_HITS = 24
_TOP = 10
_SECONDS_TO_NOTICE = 180.0
_SECONDS_TO_END = 90.0
_INTERRUPTED = 130


class DemoError(Exception):
    """A step failed or gave an implausible result."""


@dataclass(frozen=True)
class Simquery:
    """The ``simquery`` command of this Python's environment, with the demo's settings.

    Each command runs in its own session, so that Ctrl-C in the terminal reaches the demo alone, which then ends the
    command exactly once.
    """

    settings: Mapping[str, str]

    def run(self, *arguments: str | Path) -> None:
        """Run a command and show its output."""
        with self.started(*arguments) as process:
            _check_exit(process)

    def read(self, *arguments: str | Path, save: Path | None = None) -> Any:
        """Run a command and return the JSON that it prints; also write it to the file ``save``."""
        with self.started(*arguments, stdout=subprocess.PIPE, save=save) as process:
            output, _ = process.communicate()
            _check_exit(process)
        if save is not None:
            save.write_text(output, encoding="utf-8")
        return json.loads(output)

    @contextmanager
    def started(
        self, *arguments: str | Path, save: Path | None = None, **streams: int
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start a command; if it still runs at the end of the block, end it."""
        words = ["simquery", *map(str, arguments)]
        print(f"$ {shlex.join(words)}" + (f" > {save}" if save else ""))
        process = subprocess.Popen(
            [Path(sys.executable).with_name("simquery"), *words[1:]],
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            **streams,
        )
        try:
            yield process
        finally:
            _end(process)


def main() -> int:
    """Run the demo and return its exit code."""
    started = time.monotonic()
    os.chdir(_ROOT)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # keeps the order of our lines and the commands' output
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        evidence = _make_evidence()
        with _server() as simquery:
            _index(simquery, evidence)
            dropped = _watch(simquery, evidence)
            for photograph, distance in _QUERIES.items():
                _query(simquery, evidence.folder / "photographs" / photograph, distance, dropped[photograph])
            _say("What the cluster holds")
            simquery.run("status")
    except DemoError as error:
        print(f"\nThe demo failed: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return _INTERRUPTED
    _say(f"Done in {time.monotonic() - started:.0f} s")
    for sheet in sorted(_RESULT.glob("*.png")):
        print(f"ranked result: {sheet}")
    print(f"evidence:      {evidence.folder}, described in {evidence.folder / 'SOURCES.md'}")
    return 0


def _make_evidence() -> Evidence:
    _say(f"Making the evidence in {_EVIDENCE}: photographs, variants of them, drawn scenes, damaged files")
    shutil.rmtree(_RESULT, ignore_errors=True)
    evidence = build(_EVIDENCE)
    pictures = evidence.count("indexed") + evidence.count("duplicate")
    print(f"{pictures} pictures; SOURCES.md describes each")
    return evidence


@contextmanager
def _server() -> Iterator[Simquery]:
    """Start a local node with its own data and stop it at the end, or use the cluster of ``SIMQUERY_URL``."""
    is_local = not os.environ.get("SIMQUERY_URL")
    home = Path(tempfile.mkdtemp(prefix="simquery-demo-"))
    home.chmod(0o711)  # root starts the server as another user, who must be able to enter
    simquery = Simquery(
        {
            "SIMQUERY_HOME": str(home),
            "SIMQUERY_CASE": os.environ.get("SIMQUERY_CASE") or "demo",
            "SIMQUERY_MODEL": os.environ.get("SIMQUERY_MODEL") or "mini",
            "SIMQUERY_HEAP": os.environ.get("SIMQUERY_HEAP") or "512m",
        }
    )
    _say("Starting the server" if is_local else "Using the cluster that SIMQUERY_URL names")
    for name, value in simquery.settings.items():
        print(f"$ export {name}={shlex.quote(value)}")
    try:
        simquery.run("up")
        yield simquery
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave the server running
        if is_local:
            _say("Stopping the server and deleting its data")
            simquery.run("down")
        shutil.rmtree(home)


def _index(simquery: Simquery, evidence: Evidence) -> None:
    _say("Indexing")
    counts = simquery.read("index", evidence.folder, "--json")
    print(", ".join(f"{value} {name}" for name, value in counts.items()))
    # A cluster that has seen another demo already holds these contents, and counts them as duplicates.
    pictures = evidence.count("indexed") + evidence.count("duplicate")
    _check(counts["indexed"] + counts["duplicate"] == pictures, f"{pictures} pictures should have been indexed")
    _check(counts["duplicate"] >= evidence.count("duplicate"), "the copy was not recognised as a duplicate")
    for status in ("unreadable", "skipped"):
        _check(counts[status] == evidence.count(status), f"{evidence.count(status)} files should be {status}")


def _watch(simquery: Simquery, evidence: Evidence) -> dict[str, Path]:
    """Drop a new variant of each query's photograph into the folder while ``watch`` runs; return their paths."""
    _say("Watching: new pictures are indexed as they appear")
    with simquery.started("watch", evidence.folder, stderr=subprocess.PIPE) as process:
        lines = _lines(process.stderr)
        known = _indexed(_wait_for(lines, lambda line: "Watching" in line))
        dropped = {}
        for photograph in _QUERIES:
            dropped[photograph] = drop(evidence.folder / "dropped", photograph)
            print(f"(dropped {dropped[photograph]} into the folder)")
        _wait_for(lines, lambda line: _indexed(line) >= known + len(dropped))
        process.send_signal(signal.SIGTERM)
        process.wait(_SECONDS_TO_END)
        _check_exit(process)
    return dropped


def _query(simquery: Simquery, photograph: Path, distance: str, dropped: Path) -> None:
    name = f"{photograph.stem}-{distance}"
    _say(f"Pictures similar to {photograph.name}, by {distance} distance")
    query = ("query", photograph, "--distance", distance, "-k", str(_HITS))
    simquery.run(*query, "--sheet", _RESULT / f"{name}.png")
    hits = simquery.read(*query, "--json", save=_RESULT / f"{name}.json")["hits"]

    content = _sha256(photograph)
    own = [hit for hit in hits[:_TOP] if hit["sha256"] != content and shows(Path(hit["paths"][0])) == photograph.stem]
    print(f"{len(own)} of the first {_TOP} are variants of {photograph.name}")
    _check(hits[0]["sha256"] == content, f"{photograph.name} is not the most similar to itself")
    _check(len(own) > _TOP / 2, "most of the first hits show something else")
    found = [hit for hit in hits if hit["sha256"] == _sha256(dropped)]
    _check(bool(found) and str(dropped.absolute()) in found[0]["paths"], f"{dropped} was not found")
    print(f"{dropped.name}, which watch has just indexed, has rank {found[0]['rank']}")


def _lines(stream: IO[str] | None) -> "queue.SimpleQueue[str | None]":
    """Print and queue the lines of a stream as they arrive; None marks its end."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def follow() -> None:
        for line in stream or ():
            print(line, end="")
            lines.put(line)
        lines.put(None)

    threading.Thread(target=follow, daemon=True).start()
    return lines


def _wait_for(lines: "queue.SimpleQueue[str | None]", wanted: Callable[[str], bool]) -> str:
    """Take lines up to the wanted one, and return that."""
    latest = time.monotonic() + _SECONDS_TO_NOTICE
    while True:
        try:
            line = lines.get(timeout=max(0.0, latest - time.monotonic()))
        except queue.Empty:
            raise DemoError(f"watch did not react within {_SECONDS_TO_NOTICE:.0f} s") from None
        if line is None:
            raise DemoError("watch ended before it should have")
        if wanted(line):
            return line


def _indexed(line: str) -> int:
    """Return the number of pictures in the case that a line of ``watch`` reports; 0 if it reports none."""
    found = re.match(r"([\d,]+) indexed, ([\d,]+) duplicate", line)
    return sum(int(count.replace(",", "")) for count in found.groups()) if found else 0


def _check_exit(process: "subprocess.Popen[str]") -> None:
    code = process.wait()
    _check(code == 0, f"the command ended with exit code {code}")


def _end(process: "subprocess.Popen[str]") -> None:
    """End a command that still runs: interrupt it, and kill it if that does not help."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise DemoError(complaint)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(step: str) -> None:
    print(f"\n== {step}")


if __name__ == "__main__":
    sys.exit(main())
