"""Operator programs run: in torch and, written as a file, in a runtime, with the same answers; and hash by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from chipfit.compress.edit import apply
from chipfit.compress.quantise import ranges
from chipfit.core.edits import Swap
from chipfit.core.graph import Graph, Network
from chipfit.export.onnx import write
from chipfit.nets.build import build
from chipfit.nets.doubles import execute_in_double
from chipfit.space.program import Place, Program, alone, parse
from chipfit.space.program.canonical import canonical
from chipfit.space.program.functional import functional_hash
from chipfit.space.program.mutate import drawn
from chipfit.space.program.opcodes import EXTENDED, FAITHFUL, OPCODES
from chipfit.space.program.seeds import same
from program_places import PLACES


def network(graph: Graph, seed: int = 0) -> Network:
    """Weights about as large as makes values neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    shapes = {name: shape for o in graph for name, shape in graph.weight_shapes(o).items()}
    weights = {}
    for name, shape in shapes.items():
        values = rng.normal(size=shape) * (int(np.prod(shape[1:])) or 1) ** -0.5
        weights[name] = (np.abs(values) + 0.5 if name.endswith("var") else values).astype(np.float32)
    return Network(graph, weights)


def answers(program: Program, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Of torch and of ONNX Runtime, on three random inputs."""
    made = network(alone(program, place))
    x = np.random.default_rng(1).normal(size=(3, *place.before)).astype(np.float32)
    with torch.inference_mode():
        torch_answer = build(made)(torch.from_numpy(x)).numpy()
    return torch_answer, session(write(made, batch=None).data).run(None, {"input": x})[0]


def session(file: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opcodes", [EXTENDED, FAITHFUL])
@pytest.mark.parametrize("at", PLACES)
def test_random_programs_answer_alike_in_torch_and_in_a_runtime(at: str, opcodes: tuple[str, ...]) -> None:
    rng, place, finite = np.random.default_rng(5), PLACES[at], 0
    for _ in range(8):
        program = drawn(place, rng, opcodes=opcodes)
        wanted, got = answers(program, place)
        assert got.shape == (3, *place.after)
        if not np.isfinite(wanted).all() or np.abs(wanted).max() > 1e6:
            continue  # roots and logarithms of negative numbers, tangents
        finite += 1
        scale = np.abs(wanted).max()
        assert np.abs(got - wanted).max() <= 1e-4 * scale + 1e-6, program.text
    assert finite >= 4


EACH = {
    "as wide": (
        "conv(x, KxK, M)", "pwconv(x, M)", "dwconv(x, 5x3)", "dilated(x, 3x3, 2)", "gconv(x, KxK, M, 4)", "scale(x)",
        "norm(x)", "pwconv(x, M/2); concat(_, v1)", "part(x, 1, 2); part(x, 2, 2); concat(_, v1)", "shuffle(x, 4)",
        "shift(x)", "pool(x, avg, 3x3)", "pool(x, max, 3x3)", "down(x, 2); up(_)", "mean_hw(x); mul(x, _)", "relu(x)",
        "hswish(x)", "gelu(x)", "sigmoid(x)", "abs(x)", "sin(x)", "cos(x)", "exp(x)", "abs(x); log(_)",
        "abs(x); sqrt(_)", "sin(x); tan(_)", "clip(x, -1.0, 1.0)", "abs(x); power(_, 0.5)", "power(x, 2.0)",
        "add(x, x)", "relu(x); sub(x, _)", "sigmoid(x); div(x, _)", "matmul(x, x)", "softmax(x)", "relu_norm(x)",
        "sum(x); mul(x, _)", "mean(x); add(x, _)", "max(x); sub(x, _)", "min(x); sub(x, _)", "softmax_all(x)",
        "dot(x, x); mul(x, _)", "transpose(x)", "flatten(x); reshape(_)", "slice(x, 0, 0, 8); concat(_, v1)",
        "pad(x, 1); slice(_, 1, 2, 11); slice(_, 2, 0, 9)",
    ),
    "tokens": (
        "linear(x, M/4); linear(_, M)", "transpose(x); matmul(x, _); softmax(_); matmul(_, x); linear(_, M)",
    ),
}  # fmt: skip
"""A program of each opcode."""


def test_there_is_one_of_each_opcode() -> None:
    assert {row.opcode for texts in EACH.values() for text in texts for row in parse(text).instructions} == set(OPCODES)


@pytest.mark.parametrize(("at", "text"), [(at, text) for at, texts in EACH.items() for text in texts])
def test_each_opcode_answers_alike_in_torch_and_in_a_runtime(at: str, text: str) -> None:
    wanted, got = answers(parse(text), PLACES[at])
    assert np.isfinite(wanted).all()
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max(), text


FULL_RANK = {
    "conv": (
        "conv(x, Kx1, 6M); conv(_, 1xK, M)", "conv(x, 1xK, 6M); conv(_, Kx1, M)", "conv(x, KxK, M); pwconv(_, M)",
        "pwconv(x, C); conv(_, KxK, M); pwconv(_, M)", "pwconv(x, 2C); conv(_, KxK, M)",
    ),
    "linear": ("linear(x, C); linear(_, M)", "linear(x, M); linear(_, M)"),
}  # fmt: skip


@pytest.mark.parametrize("at", PLACES)
def test_the_layer_itself_and_programs_of_full_rank_answer_as_the_layer_does(at: str) -> None:
    place = PLACES[at]
    layer = network(alone(same(place), place))
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, *place.before)))
    with torch.inference_mode():  # in double: what arrays are is looked at, and not how a processor adds up
        wanted = build(layer).double()(x)
        for text in (same(place).text, *FULL_RANK[place.kind]):
            got = build(apply(layer, [Swap(place.name, text)])).double()(x)
            assert (got - wanted).abs().max() <= 1e-6 * wanted.abs().max() + 1e-6, text


INT8 = (
    "dwconv(x, KxK); pwconv(_, M)",
    "conv(x, Kx1, M/2); conv(_, 1xK, M)",
    "pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)",
    "gconv(x, KxK, M, 4); shuffle(_, 4); gconv(_, 1x1, M, 4)",
    "pool(x, avg, KxK); pwconv(_, M); relu(_)",
    "shift(x); pwconv(_, M)",  # a pad has no int8 form: an island in float
)


@pytest.mark.parametrize("text", INT8)
def test_programs_of_int8_layers_are_written_in_int8(text: str) -> None:
    """Their kernels are whole numbers in the file, and their answers about what they were."""
    place = replace(PLACES["as wide"], bits=8)
    made = network(alone(parse(text), place))
    x = np.random.default_rng(1).normal(size=(64, *place.before)).astype(np.float32)
    file = write(made, ranges=ranges(made, x), batch=None, reduce_range=True).data
    kinds = {node.op_type for node in onnx.load_from_string(file).graph.node}
    assert "QuantizeLinear" in kinds
    with torch.inference_mode():
        wanted = build(Network(alone(parse(text), PLACES["as wide"]), made.weights))(torch.from_numpy(x)).numpy()
    got = session(file).run(None, {"input": x})[0]
    assert np.sqrt(((got - wanted) ** 2).mean() / (wanted**2).mean()) < 0.05


def hashed(text: str) -> str:
    return functional_hash(parse(text), execute_in_double)


SAME = [
    ("dwconv(x, KxK); pwconv(_, M)", "dwconv(x, 3x3); pwconv(_, M)"),
    ("pwconv(x, M); relu(_)", "relu(x); pwconv(x, M); relu(_); relu(_)"),
    ("pwconv(x, M); relu(_); clip(_, -1.0, 6.0)", "pwconv(x, M); clip(_, 0.0, 6.0)"),
    ("relu(x); sigmoid(x); mul(v1, v2); pwconv(_, M)", "sigmoid(x); relu(x); mul(v1, v2); pwconv(_, M)"),
    ("shuffle(x, 4); shuffle(_, 8); pwconv(_, M)", "part(x, 1, 1); pwconv(_, M)"),
    ("add(x, x); sub(_, x); pwconv(_, M)", "pwconv(x, M)"),
    ("pool(x, max, 3x3); relu(_); pwconv(_, M)", "relu(x); pool(_, max, 3x3); pwconv(_, M)"),
    ("linear(x, M/2); relu(_); linear(_, M)", "linear(x, M/2); relu(_); abs(_); linear(_, M)"),
]

OTHERS = [
    ("dwconv(x, 3x3); pwconv(_, M)", "dwconv(x, 5x5); pwconv(_, M)"),
    ("dwconv(x, 3x3); pwconv(_, M)", "pwconv(x, M); dwconv(_, 3x3)"),
    ("pwconv(x, M/2); pwconv(_, M)", "pwconv(x, M/4); pwconv(_, M)"),
    ("pool(x, max, 3x3); pwconv(_, M)", "pool(x, avg, 3x3); pwconv(_, M)"),
    ("conv(x, Kx1, M/2); conv(_, 1xK, M)", "conv(x, 1xK, M/2); conv(_, Kx1, M)"),
    ("shuffle(x, 4); pwconv(_, M)", "shuffle(x, 8); pwconv(_, M)"),
    ("sub(x, x); pwconv(_, M)", "dwconv(x, 3x3); dwconv(x, 3x3); sub(v1, _); pwconv(_, M)"),
    ("linear(x, M/2); linear(_, M)", "linear(x, M)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_function_has_one_hash(one: str, other: str) -> None:
    assert hashed(one) == hashed(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_another_function_has_another(one: str, other: str) -> None:
    assert hashed(one) != hashed(other)


def test_the_canonical_form_of_random_programs_is_the_same_function() -> None:
    rng, place = np.random.default_rng(7), PLACES["as wide"]
    hashes = {}
    for _ in range(40):
        program = drawn(place, rng, most=5)
        hashes[canonical(program).text] = hashed(program.text)
    assert len(set(hashes.values())) > 0.8 * len(hashes)  # some are written in two ways that no fold knows


def test_a_hash_is_what_it_was() -> None:
    assert hashed("dwconv(x, KxK); pwconv(_, M)") == "d2b4adfa5632b410"  # on this and every other machine


def test_a_program_that_fits_no_probe_is_known_by_its_form() -> None:
    nowhere = "slice(x, 0, 0, 200); pwconv(_, M)"
    assert hashed(nowhere) != hashed("slice(x, 0, 0, 201); pwconv(_, M)")
