"""Whatever befalls a runtime ends as one failed measurement: killed, hung, crashed, fed rubbish, not a number."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import made_up
from chipfit.core.graph import Network
from chipfit.core.types import Artifact
from chipfit.device import canary
from chipfit.device.processor import Processor
from chipfit.device.registry import DEVICES, open_device
from chipfit.export.dummy import random_weights
from chipfit.export.formats import timing_artifact, timing_bytes, writer

RUNTIMES = ("onnxruntime", "openvino", "litert", "litert-builtin", "tflite-micro", "ncnn", "torch")


@pytest.fixture(scope="module", params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[type[Processor], Path]:
    kind = DEVICES[request.param]
    if kind.missing:
        pytest.skip(f"{kind.missing} is not installed")
    opened = open_device(request.param, timing_bytes)
    assert isinstance(opened, Processor)
    return type(opened), made_up.calibrated(type(opened), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def runtime(folder: tuple[type[Processor], Path]) -> Iterator[Processor]:
    kind, cache = folder
    with kind(timing_bytes, cache_dir=cache) as device:
        yield device


def small(runtime: Processor, channels: int = 4) -> Artifact:
    return timing_artifact(canary.chain(channels, 1, 6), runtime.format)


def check_alone(runtime: Processor, bad: Artifact) -> str:
    """Times the bad one between two good ones; returns its reason."""
    before, failed, after = runtime.measure([small(runtime, 4), bad, small(runtime, 8)], "quick")
    assert before.value > 0
    assert after.value > 0
    assert math.isnan(failed.value)
    return failed.protocol


@pytest.mark.parametrize("cut", ["rubbish", "half", "nothing"])
def test_rubbish(runtime: Processor, cut: str) -> None:
    good = small(runtime, 16)
    data = {"rubbish": b"rubbish" * 50, "half": good.data[: len(good.data) // 2], "nothing": b""}[cut]
    assert check_alone(runtime, replace(good, data=data)).startswith("failed: ")


def test_not_a_number(runtime: Processor) -> None:
    graph = canary.chain(5, 1, 6)
    weights = random_weights(graph, np.random.default_rng(0))
    weights["conv0.bias"] = np.full(5, np.nan, np.float32)
    bad = writer(runtime.format)(Network(graph, weights))
    relu = "relu keeps no NaN where it is a maximum of it and 0"
    found = runtime.measure([bad], "quick")[0]
    assert math.isnan(found.value) == ("not finite" in found.protocol), relu


def _strike(runtime: Processor, monkeypatch: pytest.MonkeyPatch, bad: Artifact, strike: int) -> None:
    """Sends the worker a signal whenever it is about to load the bad file."""
    real = type(runtime)._load

    def load(self: Processor, digest: str, data: bytes, pinned: bool = False) -> None:
        if data == bad.data:
            os.kill(self._child.start()["pid"], strike)
        real(self, digest, data, pinned)

    monkeypatch.setattr(type(runtime), "_load", load)


@pytest.mark.parametrize("strike", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies(runtime: Processor, monkeypatch: pytest.MonkeyPatch, strike: signal.Signals) -> None:
    bad = small(runtime, 5)
    _strike(runtime, monkeypatch, bad, strike)
    assert check_alone(runtime, bad) == f"failed: the runtime's process ended (signal {strike.value})"


@pytest.mark.long
def test_a_process_that_hangs(runtime: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = small(runtime, 5)
    runtime.measure([small(runtime, 4), small(runtime, 8)], "quick")
    _strike(runtime, monkeypatch, bad, signal.SIGSTOP)
    runtime.timeout_s = 3.0
    assert "no answer within 3 s" in check_alone(runtime, bad)
