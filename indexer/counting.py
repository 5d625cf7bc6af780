"""Count the files of a selection while they are being indexed, so that progress can show how many are left."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from simquery.indexer.evidence import scan_folders
from simquery.indexer.selection import Selection

__all__ = ["counted"]


@contextmanager
def counted(selection: Selection) -> Iterator[Callable[[], int | None]]:
    """Count files in a separate thread; the yielded function returns their number, or None until all are counted."""
    ended = threading.Event()
    total: list[int] = []

    def count() -> None:
        files = takewhile(lambda _: not ended.is_set(), scan_folders(selection.folders))
        number = sum(1 for _ in selection.of(files))
        if not ended.is_set():
            total.append(number)

    thread = threading.Thread(target=count, name="reader-of-names")
    thread.start()
    try:
        yield lambda: total[0] if total else None
    finally:
        ended.set()
        thread.join()
