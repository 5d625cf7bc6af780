"""Paths as text: file names are bytes, and evidence has names that are no UTF-8."""

import os
from pathlib import Path

__all__ = ["display_path"]


def display_path(path: Path) -> str:
    r"""Path as text that can be stored and printed: bytes that are not UTF-8 are shown as ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
