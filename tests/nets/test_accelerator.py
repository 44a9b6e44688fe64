"""Where chipfit computes: a GPU where there is one; what it finds there is the processor's, but for rounding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chipfit.api.config import Config
from chipfit.compress.edit import apply
from chipfit.compress.profile import profile
from chipfit.compress.quantise import fake_quantised, ranges
from chipfit.compress.refit import refit
from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.data.load import load_data
from chipfit.evaluate.damage import damage
from chipfit.nets import accelerator
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import load_zoo
from chipfit.space import edits as on_graph
from chipfit.space.edits import Precision, Width
from chipfit.space.groups import channel_groups, sites
from chipfit.space.offer import offer
from chipfit.train.jobs import Job, run_jobs
from chipfit.train.loop import Schedule, accuracy
from recipes import small

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here (torch.cuda.is_available() is false)")

DAMAGE_TOLERANCE = 0.02
"""Relative, or a thousandth of a nat: what a GPU's other order of sums moves through repairs layer by layer."""


@pytest.fixture(autouse=True)
def _chosen_anew() -> Iterator[None]:
    before = list(accelerator._chosen)
    yield
    accelerator._chosen[:] = before
    accelerator.fast_bf16.cache_clear()


def test_words_are_checked_before_torch_is_loaded() -> None:
    with pytest.raises(BadInput, match=r"--accelerator 'gpu' is not known; give auto, cpu or cuda"):
        Config.of({"models": "zoo:fashion-mnist", "max": "latency_ms=1", "accelerator": "gpu"})


def test_the_processor_is_taken_where_it_is_asked_for() -> None:
    assert accelerator.choose("cpu").type == "cpu"
    assert accelerator.here().type == "cpu"
    assert accelerator.described() == "cpu"
    assert not accelerator.shared_with_others()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_or_passed_over() -> None:
    with pytest.raises(BadInput, match=r"--accelerator cuda is not possible: .*; give --accelerator cpu"):
        accelerator.choose("cuda")
    assert accelerator.choose("auto").type == "cpu"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def on(name: str) -> None:
    accelerator.choose(name)
    accelerator.fast_bf16.cache_clear()


@gpu
def test_damages_are_those_of_the_processor() -> None:
    network = load_zoo("fashion-mnist/resnet8").network
    inputs = np.random.default_rng(0).normal(size=(512, *network.graph.input_shape)).astype(np.float32)
    offered, found = offer(network.graph, {32: 8, 8: 8}), []
    for name in ("cpu", "cuda"):
        on(name)
        made = profile(network, inputs[:256], np.random.default_rng(0))
        menu, _ = damage(network, offered, made, inputs[256:384], inputs[384:])
        found.append(np.concatenate([t.table.ravel() for t in menu.terms if t.metric == "damage"]))
    np.testing.assert_allclose(found[1], found[0], rtol=DAMAGE_TOLERANCE, atol=1e-3)


@gpu
def test_repairs_and_int8_answers_are_those_of_the_processor() -> None:
    network = load_zoo("fashion-mnist/resnet8").network
    inputs = np.random.default_rng(0).normal(size=(128, *network.graph.input_shape)).astype(np.float32)
    group = channel_groups(network.graph).groups[0]
    edits = [Width(group.name, tuple(range(group.size // 2)))]
    coded = Network(
        on_graph.apply(network.graph, [Precision(s.name, 8) for s in sites(network.graph)]), network.weights
    )
    repaired, answers = [], []
    for name in ("cpu", "cuda"):
        on(name)
        fixed = refit(network, apply(network, edits), edits, inputs, np.random.default_rng(0))
        with torch.inference_mode():
            repaired.append(build(fixed)(torch.from_numpy(inputs)).numpy())
        answers.append(fake_quantised(coded, ranges(network, inputs), inputs))
    scale = np.abs(repaired[0]).max()
    assert np.abs(repaired[1] - repaired[0]).max() < 0.01 * scale
    # values a rounding apart may fall on neighbouring levels
    assert np.mean(np.abs(answers[1] - answers[0])) < 0.01 * np.abs(answers[0]).max()


@gpu
def test_training_on_a_gpu_learns_as_well(digits: Dataset) -> None:
    scores = []
    for name in ("cpu", "cuda"):
        on(name)
        torch.manual_seed(0)
        job = Job("a", trace(small.plain().eval(), digits.input_shape), Schedule(150, 0.05, batch=64), 0)
        (done,) = run_jobs([job], digits, None)
        scores.append(accuracy(build(done.network), digits, digits.validation))
    assert scores[1] > scores[0] - 0.03
