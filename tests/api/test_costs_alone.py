"""Runs of networks without weights: taken up under another limit, no file, no accuracy to hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from chipfit.api.config import Config
from chipfit.api.runs import fit, resume, run
from chipfit.core.errors import BadInput
from chipfit.evaluate import modelled
from chipfit.store.store import Store

MODEL, DEVICE = "published:squeezenet1_1", "accel:zcu102"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(modelled, "MOST_TIMES", 3e5)
    monkeypatch.setattr("chipfit.recipes.cost_front.FRONT", (0.6,))
    return tmp_path / "run"


def config(folder: Path, **more: object) -> Config:
    given = {"models": MODEL, "device": DEVICE, "input_shape": (3, 32, 32), "max": "latency_ms=60%", "out": str(folder)}
    return Config.of(given | more)


@pytest.mark.long
def test_a_run_without_weights_is_taken_up_under_other_limits(folder: Path) -> None:
    before = fit(MODEL, input_shape=(3, 32, 32), device=DEVICE, limits=["latency_ms=60%"], out=folder).best
    less = resume(folder, limits=["dsp=400"]).best
    assert before is not None
    assert less is not None
    assert before.meets_budget
    assert less.meets_budget
    assert less.details["dsp"] <= 400 < before.details["dsp"]
    with Store(folder, read_only=True) as store:
        untouched = [t.measured("latency_ms") for t in store.trials(role="zoo")]
    assert len({m.where for m in untouched}) == len(untouched) == 2
    with pytest.raises(BadInput, match="was not kept as a file; it has no weights"):
        less.data()


def test_an_accuracy_that_nobody_knows_is_not_searched_for(folder: Path) -> None:
    with pytest.raises(BadInput, match=f"{MODEL} has no weights, so that --min accuracy=50% cannot be checked"):
        run(config(folder, min="accuracy=50%"))
    assert not folder.exists()


def test_data_are_named_where_there_are_weights(folder: Path) -> None:
    with pytest.raises(BadInput, match="no data was named"):
        fit(nn.Linear(4, 2), input_shape=(4,), device=DEVICE, limits=["latency_ms=60%"], out=folder)
