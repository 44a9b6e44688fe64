from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.types import Artifact
from chipfit.device.null import Null

Small = Callable[..., Artifact]


def test_latency_by_hand(small: Small) -> None:
    # two convolutions of 4 x 4 x 9 x 36 MACs, and four operators beside the input
    (m,) = Null().measure([small(4, 2, 6)], "quick")
    assert m.value == pytest.approx(2 * 5184 / 1e6 * 0.01 + 4 * 0.002)
    assert m.provenance == "counted"
    assert m.spread == 0


def test_int8_counts_less(small: Small) -> None:
    full, half = (Null().measure([small(64, 2, 28, bits)], "quick")[0].value for bits in (32, 8))
    assert half < full / 2


def test_bytes_that_are_no_model_fail_and_no_bytes_do_not(small: Small) -> None:
    bad = replace(small(), data=b"no model at all")
    bare = replace(small(), data=b"")
    first, second = Null().measure([bad, bare], "final")
    assert math.isnan(first.value)
    assert second.value == Null().measure([small()], "quick")[0].value


def test_a_graph_without_bytes_cannot_be_run(small: Small) -> None:
    with pytest.raises(BadInput, match="export it to onnx first"):
        Null().run(replace(small(), data=b""), np.zeros((1, 4, 6, 6), np.float32))


def test_the_profile_sums_up_to_the_latency(small: Small) -> None:
    rows = Null().profile(small(8, 3, 6))
    assert sum(r.ms for r in rows) == pytest.approx(Null().measure([small(8, 3, 6)], "quick")[0].value)
    assert {r.op for r in rows} == {f"{k}{n}" for k in ("conv", "relu") for n in range(3)}
