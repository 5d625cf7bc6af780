"""Downloads of files from the web."""

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simquery.errors import DownloadError
from simquery.node.files import disk_errors, human_size

__all__ = ["SECONDS_BETWEEN_REPORTS", "download", "fetch_text"]

CHUNK = 1 << 20
SECONDS_BETWEEN_REPORTS = 10.0
SECONDS_TO_CONNECT = 5.0
"""Seconds to wait for a connection: long enough for a slow network, short enough for a machine without one."""
SECONDS_OF_SILENCE = 30.0
"""Seconds that a download may stall before simquery gives up."""


@contextmanager
def _download_errors(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DownloadError(f"'{url}' answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"'{url}' cannot be reached ({getattr(reason, 'strerror', None) or reason})") from None


def fetch_text(url: str) -> str:
    """Download a small text file.

    Raises
    ------
    DownloadError
        When it cannot be fetched.
    """
    outcome: queue.SimpleQueue[str | DownloadError] = queue.SimpleQueue()

    def fetch() -> None:
        try:
            with _download_errors(url), urllib.request.build_opener().open(url, timeout=SECONDS_TO_CONNECT) as answer:
                outcome.put(answer.read(CHUNK).decode("utf-8", "replace"))
        except DownloadError as error:
            outcome.put(error)

    # Name resolution has no time limit of its own, and takes half a minute on a machine without a network.
    threading.Thread(target=fetch, daemon=True).start()
    try:
        text = outcome.get(timeout=2 * SECONDS_TO_CONNECT)
    except queue.Empty:
        raise DownloadError(f"'{url}' cannot be reached (no answer in {2 * SECONDS_TO_CONNECT:.0f} s)") from None
    if isinstance(text, DownloadError):
        raise text
    return text


def download(url: str, target: Path, report: Callable[[str], None]) -> None:
    """Download a large file, and report the progress every few seconds.

    Raises
    ------
    DownloadError
        When the connection fails, or ends before the file does.
    DiskSpaceError
        When the disk is full.
    """
    with _download_errors(url):
        answer = urllib.request.build_opener().open(url, timeout=SECONDS_OF_SILENCE)
    started = reported = time.monotonic()
    total = int(answer.headers.get("Content-Length") or 0)
    done = 0
    with answer, disk_errors(target), target.open("wb") as stream:
        while True:
            with _download_errors(url):
                chunk = answer.read(CHUNK)
            if not chunk:
                break
            stream.write(chunk)
            done += len(chunk)
            now = time.monotonic()
            if now - reported >= SECONDS_BETWEEN_REPORTS:
                reported = now
                of_total = f" of {human_size(total)}" if total else ""
                report(f"  {human_size(done)}{of_total}, {human_size(done / (now - started))}/s")
    if done < total:
        raise DownloadError(f"'{url}' ended after {human_size(done)} of {human_size(total)}")
