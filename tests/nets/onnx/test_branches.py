"""An `If` is the branch that shapes decide, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.nets.load import load_models
from onnx_files import write

BY_SHAPE = """
g (float[{batch}, 3, 8, 8] x) => (float[{batch}, 4, 6, 6] y) <float[4, 3, 3, 3] w> {{
    c = Conv (x, w)
    s = Shape (c)
    place = Constant <value = int64 {{{place}}}> ()
    size = Constant <value = int64 {{{size}}}> ()
    d = Gather (s, place)
    e = Equal (d, size)
    y = If (e) <
        then_branch = a () => (float[{batch}, 4, 6, 6] p) {{ p = Relu (c) }},
        else_branch = b () => (float[{batch}, 4, 6, 6] q) {{ q = Tanh (c) }}
    >
}}
"""


@pytest.mark.parametrize(
    ("batch", "place", "size", "kind"),
    [("n", 2, 6, "relu"), ("n", 1, 6, "tanh"), ("n", -1, 6, "relu"), (2, 2, 6, "relu"), (2, 0, 3, "tanh")],
)
def test_the_branch_that_a_shape_decides(tmp_path: Path, batch: str, place: int, size: int, kind: str) -> None:
    path = write(tmp_path / "m.onnx", BY_SHAPE.format(batch=batch, place=place, size=size))
    (entry,) = load_models([path])
    assert [o.kind for o in entry.network.graph] == ["input", "conv", kind]


def test_a_branch_that_the_batch_decides_is_refused_with_an_output_of_the_node(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", BY_SHAPE.format(batch="n", place=0, size=1))
    with pytest.raises(BadInput, match=r"operator 'If' \(node 'y'\) is control flow"):
        load_models([path])
