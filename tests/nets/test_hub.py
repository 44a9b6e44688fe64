"""Networks of model libraries by name: built with weights or a file, and one line where something is missing."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from chipfit.core.errors import BadInput
from chipfit.nets.load import load_models


def net(classes: int = 10, channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )


class Library(ModuleType):
    """What chipfit asks timm for, without timm; `asked` is what it was asked."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.asked: list[dict[str, Any]] = []

    def list_models(self, pretrained: bool = False) -> list[str]:
        return ["resnet18", "resnet34"]

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def create_model(self, name: str, pretrained: bool, **options: Any) -> nn.Module:
        self.asked.append({"name": name, "pretrained": pretrained, **options})
        if pretrained and name == "resnet34":
            raise OSError("We couldn't connect to 'https://huggingface.co'\nto load the files")
        made = net(options.get("num_classes", 10), options.get("in_chans", 3))
        made.pretrained_cfg = {"input_size": (3, 16, 16)}  # type: ignore[assignment]
        return made


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "timm", made)
    return made


def test_a_network_comes_with_its_own_weights_and_its_usual_inputs(library: Library) -> None:
    (entry,) = load_models(["timm:resnet18"])
    assert (entry.name, entry.source) == ("resnet18", "timm:resnet18")
    assert entry.network.graph.input_shape == (3, 16, 16)
    assert library.asked == [{"name": "resnet18", "pretrained": True}]


def test_a_file_of_weights_takes_the_place_of_the_librarys(library: Library, tmp_path: Path) -> None:
    mine = net(10, 1)
    save_file(mine.state_dict(), str(tmp_path / "w.safetensors"))
    (entry,) = load_models(["timm:resnet18"], weights=[tmp_path / "w.safetensors"], input_shape=(1, 16, 16))
    assert library.asked == [{"name": "resnet18", "pretrained": False, "in_chans": 1}]
    assert any(np.array_equal(w, mine[0].weight.detach().numpy()) for w in entry.network.weights.values())  # type: ignore[operator, union-attr]
    with pytest.raises(BadInput, match="names 1 file for 2 models of yours"):
        load_models(["timm:resnet18"] * 2, weights=[tmp_path / "w.safetensors"])


def test_what_is_unknown_or_cannot_be_had_is_one_line(library: Library, tmp_path: Path) -> None:
    for spec, said in (
        ("timm:resnet81", "is unknown; did you mean 'resnet18'"),
        ("timm:resnet34", "had no weights .*couldn't connect.*; give --weights FILE"),
    ):
        with pytest.raises(BadInput, match=said) as caught:
            load_models([spec])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "package"), [("timm:a", "timm"), ("torchvision:a", "torchvision"), ("hf:a", "transformers")]
)
def test_a_library_that_is_missing_is_told_with_the_pip_line(
    spec: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInput, match=f"needs {package}, which is not installed; run: pip install {package}"):
        load_models([spec], input_shape=(3, 8, 8))


def test_a_network_of_transformers_answers_with_its_logits(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        num_channels=3, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4
    )
    torch.manual_seed(0)
    made = transformers.ResNetForImageClassification(config).eval()
    made.save_pretrained(tmp_path / "mine")
    (entry,) = load_models([f"hf:{tmp_path / 'mine'}"], input_shape=(3, 32, 32))
    assert entry.name == "mine"
    assert entry.answers is not None
    with torch.no_grad():
        want = made(torch.from_numpy(entry.answers.inputs)).logits.numpy()
    np.testing.assert_allclose(entry.answers.outputs, want, rtol=1e-4, atol=1e-5)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match=r"the folder has no config.json; give one of save_pretrained"):
        load_models([f"hf:{tmp_path / 'none'}"], input_shape=(3, 32, 32))


LATE = """
from types import SimpleNamespace
from torch import nn

logging = SimpleNamespace(disable_progress_bar=lambda: None)


class AutoConfig:
    @staticmethod
    def from_pretrained(where, **options):
        return SimpleNamespace(architectures=["Net"], num_channels=3, image_size=2)


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.last = config, nn.Linear(12, 10)

    def forward(self, x):
        return self.last(x.flatten(1))

    @classmethod
    def from_pretrained(cls, where, config, **options):
        import torchvision

        return cls(config)
"""
"""A library that imports torchvision late."""


def test_a_library_whose_compiled_operators_do_not_load_builds_what_does_not_call_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import torch\nfrom torchvision import models\n"
        'torch.library.register_fake("torchvision::nms")(lambda boxes: boxes)\n'
    )
    (tmp_path / "transformers.py").write_text(LATE)
    (folder / "models.py").write_text(
        "from torch import nn\nimport torchvision\n"
        "def list_models(): return ['small']\n"
        "def get_model(name, weights=None, **kw): return nn.Sequential(nn.Flatten(), nn.Linear(12, 10))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", import_module("transformers"))
    (late,) = load_models(["hf:mine"])
    assert late.network.graph.input_shape == (3, 2, 2)
    (entry,) = load_models(["torchvision:small"], input_shape=(3, 2, 2))
    assert entry.network.graph.total_params == 130
    with pytest.raises((NotImplementedError, RuntimeError), match="nms"):
        torch.ops.torchvision.nms(torch.zeros(1))
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
