"""Each kind in an ONNX file computes what its torch expression does, for any batch and for a fixed one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network, op
from chipfit.export.formats import FORMATS, unwritable, writer
from chipfit.export.onnx import write
from one_operator import CASES, CONSTANTS

ALL = {**CASES, **CONSTANTS}


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("name", ALL)
def test_a_file_of_one_operator_agrees_with_torch(name: str, batch: int | None, run) -> None:
    case = ALL[name]
    data = write(case.network(), batch=batch).data
    onnx.checker.check_model(data, full_check=True)
    x = case.inputs(1 if batch else 3)
    want = case.want(x)
    np.testing.assert_allclose(run(data, x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_a_format_names_what_it_has_no_form_of() -> None:
    ops = (op("x", "input", (), (3, 4, 4)), op("bent", "mish", ("x",), (3, 4, 4)))
    network = Network(Graph(ops, "bent"), {})
    assert [o.name for o in unwritable(network.graph, "ncnn")] == ["bent"]
    assert not unwritable(network.graph, "onnx")
    with pytest.raises(BadInput, match=r"cannot be written as ncnn: it has no form of operator 'bent' \(mish\)"):
        writer("ncnn")(network)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_which_kinds_it_writes(format: str) -> None:
    ops = (op("x", "input", (), (3, 4, 4)), op("y", "relu", ("x",), (3, 4, 4)))
    assert not unwritable(Graph(ops, "y"), format)
