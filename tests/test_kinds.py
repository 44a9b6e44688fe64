"""Each kind of operator is known to all who compute, write, couple, price or encode it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipfit.compress import quantise
from chipfit.core.graph import ACTIVATIONS, CHANNELWISE, ELEMENTWISE, GLOBAL_POOLS, KINDS, LAYERS, POOLS, SOFTMAXES
from chipfit.evaluate.latency import encode
from chipfit.export import lower, ncnn, nodes, tflite
from chipfit.nets import build
from chipfit.space import groups

WITHOUT_ARRAYS = KINDS - LAYERS - CHANNELWISE - {"input"}


def test_every_kind_is_computed() -> None:
    assert build.FUNCTIONS == WITHOUT_ARRAYS


@pytest.mark.parametrize("rules", [nodes.EMIT, tflite._RULES], ids=["onnx", "tflite"])
def test_every_kind_is_written(rules: dict[str, object]) -> None:
    assert rules.keys() == KINDS - {"input", "silu"}  # a silu is written as a sigmoid and a product


def test_every_kind_is_written_for_ncnn() -> None:
    assert ncnn.RULES.keys() == KINDS


def test_every_kind_has_a_token() -> None:
    words = encode._VOCABULARY
    assert set(words) == KINDS - {"input"} | {encode.OTHER}
    assert len(set(words)) == len(words)
    assert words[: words.index(encode.OTHER)] == tuple(sorted(KINDS - {"input", *encode._LATER}))


@pytest.mark.parametrize(
    "some",
    [
        groups.QUANTISABLE, lower.INT8, lower.PRESERVING, lower.FUSING, quantise.MOVES, quantise.FUSES,
        ACTIVATIONS, ELEMENTWISE, POOLS, GLOBAL_POOLS, SOFTMAXES,
    ],
)  # fmt: skip
def test_no_set_names_a_kind_that_is_none(some: frozenset[str]) -> None:
    assert some <= KINDS


def test_what_moves_values_is_the_same_in_the_file_and_in_its_forecast() -> None:
    assert quantise.MOVES == lower.PRESERVING
    assert lower.FUSING | {"batch_norm"} == quantise.FUSES
    assert quantise.CLAMPS == lower.CLAMPS


def test_nobody_puts_an_arrays_name_together() -> None:
    """A tied array is another prefix's: only `Op.array` knows."""
    source = Path(build.__file__).parents[1]
    found = [f.name for f in source.rglob("*.py") if ".weights}." in f.read_text(encoding="utf8")]
    assert found == ["graph.py"]
