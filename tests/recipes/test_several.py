"""A network of several inputs and several answers, from loader to file: a fit of the user's own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import chipfit
from chipfit.api.config import Config
from chipfit.api.inputs import Given, load_entries
from chipfit.core.errors import BadInput, Note
from chipfit.core.ports import Port, packed, ports_of
from chipfit.device.engines.engine import feed, taken

MINE = """
import numpy as np
import torch
from torch import nn

class Captioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.words, self.head = nn.Embedding(10, 64), nn.Linear(64, 4)

    def forward(self, image, ids, mask):
        counts = mask.unsqueeze(-1).float()
        text = (self.words(ids) * counts).sum(1) / counts.sum(1)
        seen = torch.relu(self.inner(torch.relu(self.conv(image)))).mean((2, 3))
        return {"text": text, "classes": self.head(seen + text)}

def build():
    torch.manual_seed(0)
    return Captioned()

def loaders():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 3, 8, 8), np.uint8)
    ids, mask = rng.integers(0, 10, (90, 5)), np.ones((90, 5), bool)
    return dict(train=[({"image": image, "ids": ids, "mask": mask}, ids[:, 0] % 4)])
"""


PORTS = (Port("image", (3, 8, 8)), Port("ids", (5,), True), Port("mask", (5,), True))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fit_of_several_inputs_writes_a_file_that_has_them(mine: Path) -> None:
    with pytest.warns(Note, match="mine-build: output classes; text dropped"):
        result = chipfit.fit(
            "mine.py:build", data="mine.py:loaders", device="null", limits={"latency_ms": "80%"}, train=False,
            output="classes", baselines=False, out="run",
        )  # fmt: skip
    best = result.best
    assert best is not None
    session = ort.InferenceSession((mine / "run" / "best" / "model.onnx").read_bytes())
    given = taken(session.get_inputs())
    assert {name: tuple(shape) for name, (shape, _) in given.items()} == {"image": (3, 8, 8), "ids": (5,), "mask": (5,)}
    (got,) = session.run(None, feed(given, np.zeros((1, 202), np.float32)))
    assert got.shape == (1, 4)
    assert "mine-build: output classes; text dropped" in result.view.dataset.notes
    rng = np.random.default_rng(0)
    rows = {"image": rng.integers(0, 256, (2, 3, 8, 8), np.uint8), "ids": rng.integers(0, 10, (2, 5))}
    np.savez("rows.npz", mask=np.ones((2, 5), bool), **rows)
    predict = [sys.executable, str(mine / "run" / "best" / "predict.py"), "rows.npz"]
    told = subprocess.run(predict, capture_output=True, text=True, check=True).stdout.splitlines()
    for n, line in enumerate(told):
        row = packed(PORTS, {name: values[n : n + 1] for name, values in (*rows.items(), ("mask", np.ones((2, 5))))})
        (answers,) = session.run(None, feed(given, row))
        assert line.startswith(f"{n}: {answers[0].argmax()} ")
    assert len(told) == 2


def test_without_data_the_inputs_are_named(mine: Path) -> None:
    texts = ("image=3,8,8", "ids=5:int", "mask=5:int")
    config = Config.of({"models": "mine.py:build", "inputs": texts, "output": 1})
    with pytest.warns(Note, match="output classes"):
        (entry,) = load_entries(config, Given(), None)
    assert ports_of(entry.network.graph.ops[0])[1] == Port("ids", (5,), True)
    assert config.plain()["inputs"] == list(texts)
    assert "inputs" not in Config.of({"models": "mine.py:build"}).plain()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"inputs": "image"}, "--inputs 'image' is no input; write image=3,32,32, or ids=24:int"),
        ({"inputs": "ids=24:words"}, "is no input"),
        ({"inputs": ["a=3", "a=4"]}, "--inputs names 'a' twice"),
        ({"inputs": ["a=0"]}, "is not a shape"),
        ({"inputs": 3}, "is no list of inputs"),
        ({"inputs": ["a=3"], "input_shape": "3"}, "give one of them"),
    ],
)
def test_words_that_name_no_input_are_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Config.of({"models": "mine.py:build", **said})


def test_a_mapping_of_shapes_is_the_same() -> None:
    assert Config.of({"inputs": {"a": (3, 8, 8), "b": 4}}).ends.ports == (Port("a", (3, 8, 8)), Port("b", (4,)))
