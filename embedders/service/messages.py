"""Messages over the socket: a header, which is one line of JSON, and then as many bytes as the header announces.

Nothing that is received is executed or unpickled.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Header", "array_of", "receive", "remove_socket", "send"]

Header = dict[str, object]

_LONGEST_HEADER = 1 << 16
_LONGEST_PAYLOAD = 1 << 30


def send(stream: BinaryIO, header: Header, array: NDArray[np.generic] | None = None) -> None:
    """Send a header with an array, if there is one."""
    payload = b"" if array is None else np.ascontiguousarray(array).tobytes()
    shape = [] if array is None else list(array.shape)
    stream.write(json.dumps({**header, "shape": shape, "bytes": len(payload)}).encode() + b"\n")
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[Header, bytes]:
    """Receive a header and its payload.

    Raises
    ------
    EOFError
        When the other side has closed the connection.
    ValueError
        When the received data is not a message.
    """
    line = stream.readline(_LONGEST_HEADER)
    if not line:
        raise EOFError
    header = json.loads(line)
    size = header["bytes"]
    if not 0 <= size <= _LONGEST_PAYLOAD:
        raise ValueError(f"a message of {size} bytes")
    payload = stream.read(size)
    if len(payload) < size:
        raise EOFError
    return header, payload


def array_of(header: Header, payload: bytes, dtype: type[np.generic]) -> NDArray[np.generic]:
    """Return the array that came with a header."""
    shape = header["shape"]
    return np.frombuffer(payload, dtype).reshape(shape)  # type: ignore[call-overload,no-any-return]


def remove_socket(path: Path, facts: os.stat_result) -> None:
    """Remove a socket unless its ``stat`` result has changed: another process may have put its own socket there."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), facts):
            path.unlink()
