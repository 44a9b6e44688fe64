"""The demonstration: the zoo where its data are at hand, else two networks trained on digits, and it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chipfit.api import demo
from chipfit.api.config import Config
from chipfit.api.inputs import Given
from chipfit.core.data import Dataset
from chipfit.data import fashion_mnist

ASKED: dict[str, Any] = {"budgets": "40%,20%", "time": "1m", "device": "null", "out": "run"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, Given | None]]:
    """What the demonstration would run."""
    found: list[tuple[Config, Given | None]] = []

    def run(config: Config, *, given: Given | None = None, progress: object = None) -> None:
        found.append((config, given))

    monkeypatch.setattr(demo, "run", run)
    return found


def test_with_fashion_mnist_it_is_the_zoo(
    calls: list[tuple[Config, Given | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "find", lambda: Path("here"))
    demo.demo(**ASKED)
    ((config, given),) = calls
    assert (config.models, config.data, given) == (("zoo:fashion-mnist",), "fashion-mnist", None)
    assert [b[0].value for b in config.budget_sets] == [0.4, 0.2]


def test_without_it_digits_stand_in_and_that_is_said(
    calls: list[tuple[Config, Given | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "find", lambda: None)
    monkeypatch.setattr(demo, "EPOCHS", 1)
    said: list[str] = []
    demo.demo(**ASKED, progress=lambda phase, detail: said.append(detail))
    ((config, given),) = calls
    assert given is not None
    assert isinstance(given.data, Dataset)
    assert given.data.input_shape == (1, 28, 28)
    assert config.models == given.names == ("object:lenet5", "object:dscnn")
    assert "apt-get install dataset-fashion-mnist" in said[0]
    again = Given(tuple(demo._trained(n, given.data, 0, lambda *_: None) for n in demo.INSTEAD), given.data)
    digests = [[e.network.digest() for e in g.models if isinstance(e, demo.Entry)] for g in (given, again)]
    assert digests[0] == digests[1]  # so that the same command finds its run again
