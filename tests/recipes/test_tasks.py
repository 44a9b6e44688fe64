"""Whole fits of other tasks than classification: seen in the data, trained, judged and told in their own words."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import chipfit
from chipfit.cli.app import main
from chipfit.core.data import Dataset, Split
from chipfit.store.store import Store

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 8)).astype(np.float32)
SUMS = (X[:, :2] * 30 + 100 * np.sin(X[:, 2:3])).astype(np.float32)
PARTS = (slice(0, 400), slice(400, 500), slice(500, 600))


def dense(outputs: int) -> nn.Module:
    """A network of three dense layers, whose widths matter to its size."""
    torch.manual_seed(0)
    layers = [nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)]
    return nn.Sequential(*layers)


def trained(net: nn.Module, targets: np.ndarray, loss: nn.Module) -> nn.Module:
    """The network after some steps on what it is for."""
    x, y = torch.from_numpy(X[:400]), torch.from_numpy(targets[:400])
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        loss(net(x), y).backward()
        optimiser.step()
    return net.eval()


def data(targets: np.ndarray | None, **more: Any) -> Dataset:
    train, validation, test = (Split(X[rows], None if targets is None else targets[rows]) for rows in PARTS)
    return Dataset("mine", (), (0.0,), (1.0,), train, validation, lambda: test, **more)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fit(net: nn.Module, dataset: Dataset, out: Path, **options: Any) -> chipfit.Result:
    torch.set_num_threads(1)
    given: dict[str, Any] = {"limits": {"size_mb": "50%"}, "epochs": 8, "bits": (32,), "baselines": False, **options}
    return chipfit.fit(net, data=dataset, device="null", out=out, **given)


@pytest.fixture(scope="module")
def regression() -> nn.Module:
    return trained(dense(2), SUMS, nn.MSELoss())


def test_a_regression_is_fitted_and_told_by_its_error(regression: nn.Module, tmp_path: Path) -> None:
    result = fit(regression, data(SUMS), tmp_path / "run")
    best, came = result.best, next(m for m in result.models if m.role == "zoo")
    assert best is not None
    assert (best.metric, best.accuracy, best.meets_budget) == ("rmse", None, True)
    assert best.test_quality is not None
    assert came.test_quality is not None
    assert best.test_quality < 0.5 * SUMS.std(), "it has learnt something"
    assert best.test_quality < 3 * came.test_quality
    assert [m.quality for m in result.front] == sorted((m.quality for m in result.front), reverse=True)  # type: ignore[type-var]
    page = result.report.read_text()
    assert "validation rmse" in page
    assert "accuracy" not in page.partition("<script")[0].lower()
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert "test rmse" in card
    assert "judged by rmse" in card
    with (tmp_path / "run" / "candidates.csv").open() as file:
        assert "rmse_validation" in next(csv.reader(file))
    with Store(tmp_path / "run", read_only=True) as store:
        notes = store.fact("dataset")["notes"]  # type: ignore[index,call-overload]
        assert any(n.startswith("taken for regression") for n in notes)
        assert any("damage of" in n for n in notes)
    np.save(tmp_path / "x.npy", X[500:503])
    predict = [sys.executable, str(tmp_path / "run" / "best" / "predict.py"), str(tmp_path / "x.npy")]
    told = subprocess.run(predict, capture_output=True, text=True, check=True).stdout
    assert len(told.splitlines()) == 3
    first = np.fromstring(told.splitlines()[0].partition("[")[2].rstrip("]"), sep=" ")
    assert first.shape == (2,)


def test_an_error_may_be_limited_and_named(regression: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(chipfit.Infeasible, match="reaches mae 1e-06: the nearest has") as caught:
        fit(regression, data(SUMS), tmp_path / "a", limits={"size_mb": "50%", "mae": 1e-6}, train=False, epochs=None)
    assert caught.value.nearest["mae"] > 0
    again = fit(
        regression, data(SUMS), tmp_path / "b", limits=["size_mb=50%"], minimize="mae", train=False, epochs=None
    )
    assert again.best is not None
    assert again.best.metric == "mae"
    for wrong in ({"min_quality": ["rmse=5"]}, {"limits": ["size_mb=50%", "f1=0.5"]}, {"maximize": "accuracy"}):
        with pytest.raises(chipfit.BadInput):
            fit(regression, data(SUMS), tmp_path / "c", **{"limits": ["size_mb=50%"], **wrong})


def test_labels_are_judged_by_f1_and_may_be_few(tmp_path: Path) -> None:
    there = (SUMS > 40).astype(np.int64)
    there = np.concatenate([there, X[:, 3:5] > 0.5], 1).astype(np.int64)
    net = trained(dense(4), there.astype(np.float32), nn.BCEWithLogitsLoss())
    result = fit(net, data(there), tmp_path / "run", min_quality={"f1": 0.5})
    assert result.best is not None
    assert result.best.metric == "f1"
    assert result.best.test_quality is not None
    assert result.best.test_quality > 0.6
    assert result.view.task.name == "multi-label"


def test_without_targets_numbers_are_held_against_the_originals(regression: nn.Module, tmp_path: Path) -> None:
    result = fit(regression, data(None), tmp_path / "run", train=False, epochs=None, task="regression")
    best = result.best
    assert best is not None
    assert best.quality is None
    damage = next(
        m.value
        for t in result.trials
        if t.labels.get("role") == "final"
        for m in t.measurements
        if m.metric == "damage"
    )
    assert 0 < damage < 1.0


MINE = """
import numpy as np
from torch import nn
import torch

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

def loaders():
    x = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    y = 3 * np.abs(x[:, 0]) + x[:, 1]
    worst = ("worst", "min", lambda answers, targets: np.abs(answers - targets).max(1))
    return dict(train=[(x, y)], loss=lambda answers, targets: ((answers - targets).abs() ** 1.5).mean(), metric=worst)
"""


def test_a_loss_and_a_metric_of_the_users_own_are_trained_with_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    spec, out = f"{tmp_path}/mine.py", str(tmp_path / "run")
    how = ["--max", "size_mb=50%", "--max", "worst=9", "--epochs", "10", "--bits", "32", "--no-baselines"]
    assert main(["fit", f"{spec}:build", "--data", f"{spec}:loaders", "--device", "null", *how, "--out", out]) == 0
    assert "test worst" in capsys.readouterr().out
    assert main(["report", out, "--json"]) == 0
    with Store(out, read_only=True) as store:
        assert store.fact("task")["metric"]["name"] == "worst"  # type: ignore[index,call-overload]
        zoo, final = (store.trials(role=role)[0] for role in ("zoo", "final"))
        assert final.get("worst") < zoo.get("worst"), "it was not trained before"
    capsys.readouterr()
    assert main(["fit", f"{spec}:build", "--data", f"{spec}:loaders", "--device", "null", "--max", "size_mb=50%",
                 "--min", "worst=9", "--no-train", "--out", f"{out}2", "--json"]) == 2  # fmt: skip
    said = capsys.readouterr()
    assert "of worst less is better; write --max worst=9" in said.err + said.out


def test_a_classification_stores_what_it_always_did(tmp_path: Path) -> None:
    labels = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
    train, validation, test = (Split(X[rows], labels[rows]) for rows in PARTS)
    three = Dataset("mine", ("a", "b", "c"), (0.0,), (1.0,), train, validation, lambda: test)
    fit(trained(dense(3), labels, nn.CrossEntropyLoss()), three, tmp_path / "run", train=False, epochs=None)
    with Store(tmp_path / "run", read_only=True) as store:
        facts = store.facts()
        assert "task" not in facts
        assert "task" not in facts["config"]  # type: ignore[operator]
        assert list(facts["reference"]) == ["name", "latency_ms", "accuracy", "values", "versions"]  # type: ignore[arg-type]
        assert all(t.has("accuracy") for t in store.trials())
        assert "tokens" not in json.dumps(facts["dataset"])
