"""How the parent and the worker process speak: one JSON object and raw bytes per message, no pickle (law 7).

A message is a little-endian uint32 (length of the header), the header as UTF-8 JSON, and the blobs whose lengths
stand in the header's "blobs". Only the standard library is used, since the worker imports this file too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

Header = dict[str, Any]
Blob = bytes | bytearray | memoryview

LIMIT = 1 << 24
"""Bytes a header may have: a longer one means that something else wrote to the pipe."""


def send(stream: IO[bytes], header: Mapping[str, Any], blobs: Sequence[Blob] = ()) -> None:
    """Writes one message and flushes."""
    views = [memoryview(b).cast("B") for b in blobs]
    text = json.dumps({**header, "blobs": [len(v) for v in views]}).encode()
    stream.write(struct.pack("<I", len(text)) + text)
    for view in views:
        stream.write(view)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Header, list[bytearray]]:
    """The next message: its header and its blobs.

    Raises:
        EOFError: the other side has gone, or what came is not a message.
    """
    (length,) = struct.unpack("<I", _exactly(stream, 4))
    if length > LIMIT:
        raise EOFError(f"a header of {length} bytes is not one of ours")
    header: Header = json.loads(_exactly(stream, length))
    return header, [_exactly(stream, n) for n in header.pop("blobs")]


def _exactly(stream: IO[bytes], count: int) -> bytearray:
    """`count` bytes, in as many reads as it takes."""
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        n = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not n:
            raise EOFError("the pipe was closed")
        got += n
    return data
