"""Files are held against the user's module: an exporter or a runtime that is wrong is refused, its operator named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import made_up
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Graph, Network
from chipfit.core.types import Artifact, DeviceFacts
from chipfit.device.null import Null
from chipfit.evaluate import faithful
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.faithful import hold_file
from chipfit.evaluate.screen import screen
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import writer
from chipfit.nets.load import entry_of
from chipfit.nets.zoo import Entry
from chipfit.recipes import profile as profiling
from chipfit.recipes.check import check


@pytest.fixture(scope="module")
def entry() -> Entry:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    return entry_of("mine", "mine.py:build", module, (3, 10, 10))


def timing(device: Null | None = None) -> Timing:
    return Timing(device or Null(), made_up.Memory())


def without_padding(network: Network) -> Network:
    """What an exporter makes of pools that forgets how they count."""
    ops = tuple(o.having(count_include_pad=0) if o.kind == "avg_pool" else o for o in network.graph)
    return Network(Graph(ops, network.graph.output), network.weights)


def wrong_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every exporter is wrong about average pools."""
    right = writer("onnx")

    def write(network: Network, **options: Any) -> Artifact:
        return right(without_padding(network), **options)

    monkeypatch.setattr(faithful, "writer", lambda format: write)
    monkeypatch.setattr(Timing, "write", lambda self, network, ranges, metadata: write(network))
    monkeypatch.setattr(profiling, "writer", lambda format: write)


def test_a_right_file_passes(entry: Entry) -> None:
    hold_file(entry, timing())
    hold_file(entry, timing(), writer("onnx")(entry.network))


def test_a_wrong_file_is_refused_by_its_first_operator(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_writer(monkeypatch)
    line = r"mine.py:build: the onnx file answers otherwise on null than the module .* 'avg_pool' \('2'\)"
    with pytest.raises(BadInput, match=line) as e:
        hold_file(entry, timing())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("verb", [
    lambda entry: check(entry, Null(), (), made_up.Memory()),
    lambda entry: profiling.profile(entry, Null(), made_up.Memory()),
])  # fmt: skip
def test_check_and_profile_look(entry: Entry, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Entry], object]) -> None:
    wrong_writer(monkeypatch)
    with pytest.raises(BadInput, match="answers otherwise"):
        verb(entry)


class BySize(Null):
    """A runtime that is wrong for single inputs."""

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        made = super().run(artifact, inputs)
        return made if len(inputs) > 1 else made + np.float32(0.1)


def test_both_batch_sizes_are_asked(entry: Entry) -> None:
    with pytest.raises(BadInput, match="answers otherwise"):
        hold_file(entry, timing(BySize()))


class Int8Only(Null):
    """A device without float32, whose runtime must not be asked for float files."""

    def facts(self) -> DeviceFacts:
        return replace(super().facts(), bits=(8,))

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        raise AssertionError


def test_what_cannot_be_held_is_left_alone(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_file(entry, timing(Int8Only()))
    wrong_writer(monkeypatch)
    hold_file(replace(entry, answers=None), timing())


def test_a_file_of_another_shape_is_refused(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer: Mapping[str, Sequence[int]] = {"shape": (4,)}
    weights = {k: v[:4] if k.startswith("7.") else v for k, v in entry.network.weights.items()}
    ops = tuple(replace(o, **fewer) if o.name == "7" else o for o in entry.network.graph)  # type: ignore[arg-type]
    artifact = writer("onnx")(Network(Graph(ops, entry.network.graph.output), weights))
    with pytest.raises(BadInput, match="answers otherwise"):
        hold_file(entry, timing(), artifact)


class Rounding(Null):
    """A runtime whose answers are off by some rounding of values between 0 and 1."""

    off = 3e-8

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().run(artifact, inputs) + np.float32(self.off)


class Wrong(Rounding):
    off = 0.01


def noise() -> Dataset:
    """Normal inputs of three channels with labels of five classes."""
    rng = np.random.default_rng(0)
    split = Split(rng.normal(size=(64, 3, 10, 10)).astype(np.float32), rng.integers(0, 5, 64))
    return Dataset("noise", tuple("abcde"), (0.0,) * 3, (1.0,) * 3, split, split, lambda: split)


def test_a_detector_that_sees_nothing_is_not_refused_for_rounding() -> None:
    """All its answers are some 1e-6, of which a runtime's sigmoid rounds away hundredths."""
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid())
    torch.nn.init.constant_(module[0].bias, -14.0)  # type: ignore[arg-type]
    network = entry_of("mine", "mine.py:build", module, (3, 10, 10)).network
    assert Deployer(timing(Rounding()), noise()).export(network).data
    with pytest.raises(ChipfitError, match="answers differently"):
        Deployer(timing(Wrong()), noise()).export(network)


@pytest.mark.parametrize("bits", [(32, 8), (8,)])
def test_a_fit_looks_before_anything_is_timed(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, bits: tuple[int, ...]
) -> None:
    """Whatever its precisions: the line that names the operator comes before that of a file that is none."""
    wrong_writer(monkeypatch)
    with pytest.raises(BadInput, match=r"'avg_pool' \('2'\)"):
        screen([entry], Deployer(timing(), noise()), bits)
