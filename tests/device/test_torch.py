"""Torch as a device: its answers are the module's, and its profile is of the operators that ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.numpy import save

import made_up
from chipfit.core.graph import Graph, Network, op
from chipfit.core.types import Artifact
from chipfit.device.engines.torch import TorchEngine, TorchSession
from chipfit.device.torch import TorchEager
from chipfit.export.fold import fold
from chipfit.export.formats import timing_bytes
from chipfit.export.safetensors import write
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import load_zoo, manifest
from models.awkward import AWKWARD, INPUT_SHAPE

Small = Callable[..., Artifact]


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEager]:
    folder = made_up.calibrated(TorchEager, tmp_path_factory.mktemp("cache"))
    with TorchEager(timing_bytes, cache_dir=folder) as device:
        yield device


def agrees(network: Network) -> None:
    x = np.random.default_rng(0).standard_normal((5, *network.graph.input_shape), np.float32)
    with torch.no_grad():
        want = build(network)(torch.from_numpy(x)).numpy()
    got = TorchSession(write(network).data).answer(x, 2)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_models_answer_as_the_module_does(name: str) -> None:
    torch.manual_seed(0)
    agrees(trace(AWKWARD[name]().eval(), INPUT_SHAPE))


@pytest.mark.parametrize("name", [record.name for record in manifest()])
def test_the_zoo_answers_as_the_module_does(name: str) -> None:
    agrees(load_zoo(f"fashion-mnist/{name}").network)


def test_a_step_is_an_inference_of_the_bound_input() -> None:
    network = load_zoo("fashion-mnist/resnet8").network
    session = TorchSession(write(network).data)
    session.step()
    x = np.random.default_rng(0).standard_normal((1, *network.graph.input_shape), np.float32)
    np.testing.assert_allclose(session.outputs()[0], session.answer(x, 1), rtol=1e-6)


def test_the_worker_answers_and_names_the_runtime(eager: TorchEager, small: Small) -> None:
    artifact = small(8, 2, 6, format="safetensors")
    x = np.random.default_rng(0).standard_normal((3, 8, 6, 6), np.float32)
    assert np.array_equal(eager.run(artifact, x), TorchSession(artifact.data).answer(x, 3))
    (m,) = eager.measure([artifact], "quick")
    assert m.value > 0
    assert f"torch {torch.__version__}" in m.where
    assert eager.facts().bits == (32,)


@pytest.mark.parametrize("name", ["resnet8", "lenet5"])
def test_a_profile_holds_each_operator_in_running_order(name: str) -> None:
    network = load_zoo(f"fashion-mnist/{name}").network
    rows = TorchEngine(1).profile(write(network).data, 1, 3, nullcontext)
    assert [(name, kind) for name, kind, _ in rows] == [(o.name, o.kind) for o in fold(network).graph.ops[1:]]
    assert all(us > 0 for *_, us in rows)


def test_a_profile_shows_where_the_time_goes(eager: TorchEager, small: Small) -> None:
    rows = eager.profile(small(32, 3, 28, format="safetensors"))
    assert len(rows) == 6
    assert {r.kind for r in rows[:3]} == {"conv"}
    assert sum(r.ms for r in rows[:3]) > 0.8 * sum(r.ms for r in rows)


def test_rows_of_a_small_table_are_looked_up() -> None:
    ops = (
        op("x", "input", (), (4,), integer=1),
        op("table", "embedding", ("x",), (4, 3), "table", words=1),
        op("mean", "reduce_mean", ("table",), (3,), axes=(0,), keep=0),
    )
    weights = {"table.weight": np.array([[1.0, 2.0, 3.0]], np.float32)}
    session = TorchSession(write(Network(Graph(ops, "mean"), weights)).data)
    session.step()
    np.testing.assert_array_equal(session.outputs()[0], weights["table.weight"])


def test_a_file_of_weights_alone_is_refused() -> None:
    with pytest.raises(KeyError, match="__metadata__"):
        TorchSession(save({"a": np.zeros(3, np.float32)}))


def test_a_network_without_weights_is_a_file_too() -> None:
    graph = Graph((op("x", "input", (), (3,)), op("y", "relu", ("x",), (3,))), "y")
    x = np.array([[-1, 0, 2]], np.float32)
    assert (TorchSession(write(Network(graph, {})).data).answer(x, 1) == [[0, 0, 2]]).all()
