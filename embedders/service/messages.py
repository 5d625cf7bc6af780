"""What goes over the socket: a header in JSON on one line, then as many bytes as it says.

Nothing that is received is ever executed or unpickled.
"""

import json
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Header", "array_of", "receive", "send"]

Header = dict[str, object]

_LONGEST_HEADER = 1 << 16
_LONGEST_PAYLOAD = 1 << 30


def send(stream: BinaryIO, header: Header, array: NDArray[np.generic] | None = None) -> None:
    """Send a header, and an array with it."""
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
        When the other side has gone.
    ValueError
        When it is no message.
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
    """Array that came with a header."""
    shape = header["shape"]
    return np.frombuffer(payload, dtype).reshape(shape)  # type: ignore[call-overload,no-any-return]
