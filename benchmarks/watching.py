"""Write many small files into a watched folder while the kernel keeps few events and watches, and count missed files.

    python benchmarks/watching.py --files 50000

No cluster is needed: the files that the watcher reports are compared with those written. Half of the files are in one
folder, the others in folders of 100 files each. As root, the benchmark lowers the limits of inotify (``--events``,
``--watches``) and restores them at the end; otherwise the machine's own limits apply. ``--poll SECONDS`` scans instead
of listening. The exit code is 1 if a file was missed, or reported more than once. The memory is that of a watcher's
inventory (counted by Python), without settling files.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simquery.indexer import Watcher, check_folders
from simquery.indexer.inventory import Inventory

_LIMITS = Path("/proc/sys/fs/inotify")
_IN_A_FOLDER = 100
_PATIENCE_SECONDS = 600.0


def main() -> None:
    """Write, watch, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=256, help="fs.inotify.max_queued_events (256)")
    parser.add_argument("--watches", type=int, default=16, help="fs.inotify.max_user_watches (16)")
    parser.add_argument("--poll", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        (folder,) = check_folders([Path(temporary)])
        with limits(max_queued_events=arguments.events, max_user_watches=arguments.watches) as lowered:
            report: dict[str, object] = {"files": arguments.files, "limits lowered": lowered} | watch(
                folder, arguments.files, arguments.poll
            )
        report |= remember(folder)
    print(json.dumps(report, indent=2))
    sys.exit(bool(report["missed"] or report["reported again"]))


def watch(folder: Path, count: int, poll: float | None) -> dict[str, object]:
    """Write files while they are watched, and compare."""
    reported: Counter[Path] = Counter()
    with Watcher([folder], poll_seconds=poll, reconcile_seconds=5.0) as watcher:
        writer = threading.Thread(target=write, args=(folder, count))
        giving_up = threading.Timer(_PATIENCE_SECONDS, watcher.stop)
        giving_up.start()
        started = time.monotonic()
        writer.start()
        for change in watcher.changes():
            reported.update(file.path for file in change.files)
            if len(reported) == count:
                watcher.stop()
        seconds = time.monotonic() - started
        giving_up.cancel()
        writer.join()
    return {
        "missed": count - len(reported),
        "reported again": sum(times > 1 for times in reported.values()),
        "seconds": round(seconds, 1),
    }


def write(folder: Path, count: int) -> None:
    """Write small files, half of them in folders of 100 files."""
    for number in range(count):
        place = folder / f"{number // (2 * _IN_A_FOLDER):04}" if number % 2 else folder
        place.mkdir(exist_ok=True)
        (place / f"IMG_{number:07}.jpg").write_bytes(b"%d" % number)


def remember(folder: Path) -> dict[str, object]:
    """Return how much memory and time it takes to remember all files, and to look through them again."""
    inventory = Inventory([folder], lambda _path, _descriptor: None)
    tracemalloc.start()
    inventory.begin()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.monotonic()
    *_, missing = inventory.look()
    files = getattr(missing, "known", 0)
    return {
        "bytes of memory for each file": round(taken / files, 1),
        "seconds for 100,000 files": round((time.monotonic() - began) / files * 100_000, 2),
    }


@contextlib.contextmanager
def limits(**values: int) -> Iterator[bool]:
    """Change limits of inotify for the block; yield whether they could be set."""
    paths = {_LIMITS / name: value for name, value in values.items()}
    if not all(os.access(path, os.W_OK) for path in paths):
        yield False
        return
    before = {path: path.read_text() for path in paths}
    try:
        for path, value in paths.items():
            path.write_text(str(value))
        yield True
    finally:
        for path, text in before.items():
            path.write_text(text)


if __name__ == "__main__":
    main()
