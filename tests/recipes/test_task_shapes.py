"""Every shape of inputs and answers, from the data to a scored file: maps, sequences, tokens, pictures, signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chipfit
from chipfit.core.data import Dataset, Split
from chipfit.nets.load import load_models
from models.attention import bert

RNG = np.random.default_rng(0)
N = 160


class Words(nn.Module):
    """Words looked up, two layers over them; answers for each word or for all."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.look, self.each = nn.Embedding(40, 32), each
        self.inner, self.head = nn.Linear(32, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.inner(self.look(x)))
        answer: Tensor = self.head(y if self.each else y.mean(1))
        return answer


class Maps(nn.Module):
    """Down by two and up again, an answer for each pixel."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU())
        self.up, self.head = nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(16, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(torch.relu(self.up(self.down(x))))
        return answer


def signals() -> nn.Module:
    """A 1-D network."""
    layers = [nn.Conv1d(3, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 1), nn.Flatten(0))


TOKENS = RNG.integers(0, 40, (N, 10))
PICTURES = RNG.normal(size=(N, 1, 12, 12)).astype(np.float32)
SIGNALS = RNG.normal(size=(N, 3, 24)).astype(np.float32)

CASES: dict[str, tuple[nn.Module, Any, Any, str, str]] = {
    "a class of a text": (Words(False), TOKENS, TOKENS[:, 0] % 4, "classification", "accuracy"),
    "a class by attention": (
        bert(),
        RNG.integers(0, 500, (N, 24)),
        RNG.integers(0, 4, N),
        "classification",
        "accuracy",
    ),
    "a class of each word": (Words(True), TOKENS, TOKENS % 4, "tokens", "accuracy"),
    "a class of each pixel": (Maps(3), PICTURES, RNG.integers(0, 3, (N, 12, 12)), "segmentation", "iou"),
    "yes or no at each pixel": (Maps(1), PICTURES, RNG.integers(0, 2, (N, 12, 12)), "multi-label", "f1"),
    "a picture of a picture": (Maps(1), PICTURES, (PICTURES + 1).astype(np.float32), "image", "psnr"),
    "a number of a signal": (signals(), SIGNALS, SIGNALS.mean((1, 2)), "regression", "rmse"),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("case", CASES)
def test_a_network_of_any_shape_becomes_a_scored_file(case: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    net, inputs, targets, task, metric = CASES[case]
    torch.manual_seed(0)
    parts = [Split(inputs[rows], targets[rows]) for rows in np.split(np.arange(N), [100, 130])]
    classes = tuple("abcd") if task == "classification" else ()
    data = Dataset("mine", classes, (0.0,), (1.0,), parts[0], parts[1], lambda: parts[2])
    result = chipfit.fit(
        net.eval(), data=data, device="null", limits={"size_mb": "60%"}, train=False, bits=(32,), baselines=False,
        out=tmp_path / "run",
    )  # fmt: skip
    best, came = result.best, next(m for m in result.models if m.role == "zoo")
    assert best is not None
    assert (result.view.task.name, best.metric, best.meets_budget) == (task, metric, True)
    with torch.no_grad():
        scored = torch.from_numpy(parts[2].inputs)
        answers = net(scored).numpy()
    assert best.edits > 0
    assert came.test_quality is not None
    assert best.test_quality is not None
    assert came.test_quality == pytest.approx(_by_hand(metric, answers, parts[2].targets, task), rel=1e-4)


@pytest.mark.parametrize("case", ["a class of a text", "a class of each word", "a number of a signal"])
def test_the_file_is_verified_and_runs_by_itself(case: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    net, inputs, _, _, _ = CASES[case]
    train, validation = (Split(inputs[rows]) for rows in (slice(0, 100), slice(100, 130)))
    data = Dataset("mine", (), (0.0,), (1.0,), train, validation, lambda: validation)
    task = "tokens" if "each word" in case else None
    chipfit.fit(
        net.eval(), data=data, device="null", limits={"size_mb": "70%"}, train=False, baselines=False, task=task,
        out=tmp_path / "run",
    )  # fmt: skip
    done = chipfit.export_run(tmp_path / "run", verify=True, out=tmp_path / "model.onnx")
    assert done.verified is not None
    assert done.verified.agreement >= 0.95
    np.save(tmp_path / "rows.npy", inputs[:2])
    predict = [sys.executable, str(tmp_path / "run" / "best" / "predict.py"), str(tmp_path / "rows.npy")]
    told = subprocess.run(predict, capture_output=True, text=True, check=True).stdout
    assert told.startswith("0: ")
    assert "\n1: " in told


def _by_hand(metric: str, answers: np.ndarray, targets: Any, task: str) -> float:
    """The metric of the module's own answers, computed anew."""
    if metric == "accuracy":
        return float((answers.argmax(-1) == targets).mean())
    if metric == "f1":
        told, true = answers[:, 0] > 0, targets == 1
        return float(2 * (told & true).sum() / (told.sum() + true.sum()))
    if metric == "iou":
        told = answers.argmax(1)
        both = [((told == c) & (targets == c)).sum() / ((told == c) | (targets == c)).sum() for c in range(3)]
        return float(np.mean(both))
    squared = float(((answers - targets) ** 2).mean())
    return (
        squared**0.5
        if metric == "rmse"
        else 10 * np.log10((PICTURES[:100].max() - PICTURES[:100].min()) ** 2 / squared)
    )


def test_a_model_of_tokens_is_known_by_its_data_or_by_what_it_takes(tmp_path: Path) -> None:
    net = "nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(48, 2))"
    (tmp_path / "mine.py").write_text(f"from torch import nn\ndef build():\n    return {net}\n")
    (entry,) = load_models([f"{tmp_path}/mine.py:build"], input_shape=(6,))
    assert entry.network.graph.ops[0].get("integer") == 1
    assert entry.answers is not None
    assert np.array_equal(entry.answers.inputs, np.round(entry.answers.inputs))
    assert 0 <= entry.answers.inputs.min() <= entry.answers.inputs.max() < 30
