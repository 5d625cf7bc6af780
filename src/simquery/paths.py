r"""Conversion of paths to text and back: file names are bytes, and those in evidence can be hostile.

A path is shown as it is, except for what must not reach a database or a terminal raw: bytes that are not UTF-8 and
ASCII control characters become ``\xNN``, other invisible and direction-changing characters ``\uNNNN``, and a
backslash ``\\``. So no two paths look the same, and the text can be converted back to the path.
"""

import os
import re
from pathlib import Path

__all__ = ["display_path", "printable", "real_path"]

# A fixed list, not the Unicode database: the text of a path must not depend on the version of Python.
_RAW = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\udc80-\udcff\\]")
_CONTROL = re.compile(r"(?![\n\t\\])" + _RAW.pattern)
_ESCAPED = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|\\)")
_ASCII_END = 0x80
_SURROGATES = range(0xDC00, 0xE000)
"""Code points to which Python maps the bytes of a name that are not UTF-8 (PEP 383)."""


def display_path(path: Path) -> str:
    """Return a path as text that is safe to store and print."""
    return _RAW.sub(_escape, os.fsencode(path).decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """Escape the characters of a text that must not reach a terminal raw; line breaks and tabs stay."""
    return _CONTROL.sub(_escape, text)


def real_path(text: str) -> Path:
    """Return the path that `display_path` turned into a text."""
    return Path(os.fsdecode(_ESCAPED.sub(_unescape, text.encode("utf-8"))))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character == "\\":
        return r"\\"
    if code in _SURROGATES:
        return f"\\x{code - _SURROGATES.start:02x}"
    return f"\\x{code:02x}" if code < _ASCII_END else f"\\u{code:04x}"


def _unescape(match: re.Match[bytes]) -> bytes:
    byte, character = match.groups()
    if byte:
        return bytes([int(byte, 16)])
    return chr(int(character, 16)).encode("utf-8") if character else b"\\"
