from __future__ import annotations

import io

import numpy as np
import pytest

from chipfit.device.wire import receive, send


def test_a_message_comes_back_as_it_was_sent() -> None:
    stream = io.BytesIO()
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    send(stream, {"verb": "run", "shape": [2, 3]}, [numbers.data, b"", b"tail"])
    send(stream, {"verb": "next"})
    stream.seek(0)
    header, blobs = receive(stream)
    assert header == {"verb": "run", "shape": [2, 3]}
    assert np.array_equal(np.frombuffer(blobs[0], np.float32).reshape(2, 3), numbers)
    assert [bytes(b) for b in blobs[1:]] == [b"", b"tail"]
    assert receive(stream) == ({"verb": "next"}, [])


@pytest.mark.parametrize("cut", [0, 3, 10, -1])
def test_half_a_message_is_the_end(cut: int) -> None:
    stream = io.BytesIO()
    send(stream, {"verb": "load"}, [b"12345"])
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:cut]))


def test_what_a_library_prints_is_not_taken_for_a_header() -> None:
    with pytest.raises(EOFError, match="not one of ours"):
        receive(io.BytesIO(b"Warning: something happened\n"))
