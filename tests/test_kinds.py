"""Each kind of operator is known to all who compute, write, couple, price or encode it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipfit.compress import quantise
from chipfit.core import channels, graph, kernel
from chipfit.core.graph import KINDS, STORED
from chipfit.core.kinds import FOLDED_AWAY, known
from chipfit.core.kinds import KINDS as RECORDS
from chipfit.device.accelerator import work
from chipfit.evaluate.latency import encode
from chipfit.export import ncnn, nodes, onnx, safetensors, tflite
from chipfit.nets import build, execute
from chipfit.space import groups

WITH_ARRAYS = frozenset(name for name, kind in RECORDS.items() if kind.arrays)

NEW_ACTIVATIONS = frozenset({"mish", "elu", "celu", "selu", "softplus", "softsign"})
NEW_JOINS = frozenset({"div", "maximum", "minimum"})
OF_EACH_INPUT = frozenset({"layer_norm", "rms_norm", "group_norm", "instance_norm"})
FUNCTIONS = frozenset({"abs", "exp", "log", "sqrt", "sin", "cos", "erf", "reciprocal", "pow"})
REDUCTIONS = frozenset({"reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_var"})
OTHERS = frozenset(
    {"constant", "matmul", "resize", "conv_transpose", "conv3d", "max_pool3d", "avg_pool3d", "embedding", "opaque"}
)

NOT_ON_ACCELERATORS = OF_EACH_INPUT | FUNCTIONS | REDUCTIONS | OTHERS
WITHOUT_A_WORD = NOT_ON_ACCELERATORS | NEW_ACTIVATIONS | NEW_JOINS
"""Kinds that came after predictors were stored: they share the word for what is not known."""

NOT_IN_TFLITE = WITHOUT_A_WORD
NOT_IN_NCNN = WITHOUT_A_WORD


def test_every_record_is_named_as_it_is_found() -> None:
    assert {name: kind.name for name, kind in RECORDS.items()} == {name: name for name in KINDS}
    assert known("Conv") is None  # an operator of a foreign file


def test_every_kind_is_computed_in_one_place() -> None:
    assert execute.LAYERED.keys() == WITH_ARRAYS
    assert execute.PLAIN.keys() == KINDS - WITH_ARRAYS - {"input"}


def test_every_kind_is_written() -> None:
    assert nodes.EMIT.keys() == KINDS - {
        "input",
        "silu",
        "opaque",
    }  # a silu is a sigmoid and a product
    assert onnx.WRITES == safetensors.WRITES == KINDS


def test_what_other_formats_do_not_write_is_said() -> None:
    assert tflite.WRITES == KINDS - NOT_IN_TFLITE
    assert ncnn.WRITES == KINDS - NOT_IN_NCNN
    assert work.PRICED == KINDS - NOT_ON_ACCELERATORS


def test_every_kind_has_a_token() -> None:
    words = encode._VOCABULARY
    assert set(words) == KINDS - {"input"} - WITHOUT_A_WORD | {encode.OTHER}
    assert len(set(words)) == len(words)


def test_tokens_stay() -> None:
    """Stored predictors know kinds by their places."""
    words = encode._VOCABULARY
    assert words[:5] == ("add", "avg_pool", "batch_norm", "concat", "conv")
    assert words.index(encode.OTHER) == 25
    assert words[26:] == ("affine", "prelu", "gelu_tanh", "clip", "global_max_pool", "log_softmax")


def test_sets_of_kinds_that_have_a_name() -> None:
    """The sets that code asks for most, so that a slip in a record is seen here and not in a network."""
    assert {"conv", "linear"} == graph.LAYERS
    assert {"batch_norm", "affine", "prelu"} <= graph.CHANNELWISE
    assert {"add", "sub", "mul"} <= graph.ELEMENTWISE
    assert {"max_pool", "avg_pool"} == graph.POOLS
    assert {"global_pool", "global_max_pool"} == graph.GLOBAL_POOLS
    assert {"softmax", "log_softmax"} == graph.SOFTMAXES
    assert {"taps", "patterns", "integer_bits", "fraction_bits"} == STORED
    assert channels.FOLDED == kernel.INSIDE == {"batch_norm", "affine"}
    assert {"input", "batch_norm", "flatten", "reshape"} <= FOLDED_AWAY


def test_what_int8_does_to_kinds() -> None:
    moves = {"max_pool", "flatten", "reshape", "transpose", "slice"}
    hosts = {"conv", "linear", "batch_norm", "add", "mul", "avg_pool", "global_pool", "leaky_relu"}
    assert moves == quantise.MOVES
    assert hosts == quantise.FUSES
    assert {"relu", "relu6"} == quantise.CLAMPS
    assert moves | hosts | {"relu", "relu6", "concat", "sigmoid", "silu"} == groups.QUANTISABLE


@pytest.mark.parametrize("kind", RECORDS.values(), ids=RECORDS)
def test_records_contradict_nothing(kind) -> None:
    produces = kind.channels == "produces"
    assert not produces or (kind.arrays is not None and {kind.rows, kind.columns} <= {0, 1})
    assert kind.family != "layer" or (kind.rows, kind.columns) == (0, 1)
    assert kind.channels != "carries" or kind.arrays is not None
    assert not (kind.moves and kind.arrays)
    assert not (kind.clamp and kind.hosts)
    assert kind.int8 or not (kind.clamp or kind.hosts)
    assert len(set(kind.attributes + kind.optional)) == len(kind.attributes + kind.optional)


def test_nobody_puts_an_arrays_name_together() -> None:
    """A tied array is another prefix's: only `Op.array` knows."""
    source = Path(build.__file__).parents[1]
    found = [f.name for f in source.rglob("*.py") if ".weights}." in f.read_text(encoding="utf8")]
    assert found == ["op.py"]
