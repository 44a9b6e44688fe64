from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.data import digits
from chipfit.data.load import load_data
from chipfit.data.options import parse_normalize
from chipfit.nets import zoo
from chipfit.nets.build import build
from chipfit.nets.load import load_models

Array = NDArray[np.float32]
RESNET = str(Path(__file__).parents[1] / "models" / "cifar_resnet.py")
MINE = """
import warnings
import torch
from torch import nn
def build():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
def double():
    return build().double()
def fails():
    raise RuntimeError("no weights on this disk")
def layers():
    return [1, 2]
def cls():
    return nn.Linear
class Two(nn.Module):
    def forward(self, x):
        return x, x
class Chosen(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()
    def forward(self, x):
        return self.net(x).argmax(1)
def chosen():
    return Chosen()
def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(build())
def nothing():
    return nn.Sequential(nn.ReLU(), nn.Flatten())
def meta():
    return build().to("meta")
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


@pytest.fixture(scope="module")
def small() -> Dataset:
    return digits.load()


# the user's own


def test_a_users_module_becomes_a_network_that_answers_alike(mine: str, small: Dataset) -> None:
    (entry,) = load_models([f"{mine}:build"], dataset=small)
    assert (entry.name, entry.licence, entry.source) == ("mine-build", "unknown", f"{mine}:build")
    assert entry.network.graph.input_shape == (1, 8, 8)
    assert entry.network.graph.total_params == 4 * 9 + 4 + 256 * 10 + 10
    x = torch.from_numpy(small.normalise(small.train.inputs[:5]))
    torch.manual_seed(3)
    conv, linear = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Linear(256, 10)
    torch.testing.assert_close(build(entry.network).eval()(x), linear(conv(x).relu().flatten(1)))


def test_one_file_of_weights_for_each_model_in_order(mine: str, tmp_path: Path) -> None:
    files = []
    for k in range(2):
        (entry,) = load_models([f"{mine}:build"], input_shape=(1, 8, 8))
        module = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 10)
        )
        torch.nn.init.constant_(module[3].weight, float(k))
        files.append(tmp_path / f"w{k}.safetensors")
        save_file(module.state_dict(), files[-1])
    first, second = load_models([f"{mine}:build"] * 2, weights=files, input_shape=(1, 8, 8))
    assert [first.name, second.name] == ["mine-build", "mine-build-2"]
    assert second.source.endswith("mine.py:build with w1.safetensors")
    for k, entry in enumerate((first, second)):
        assert any((w == k).all() for n, w in entry.network.weights.items() if w.shape == (10, 256))
    with pytest.raises(BadInput, match="names 1 file for 2 models of yours"):
        load_models([f"{mine}:build"] * 2, weights=files[:1], input_shape=(1, 8, 8))


def test_double_precision_is_made_single(mine: str) -> None:
    (entry,) = load_models([f"{mine}:double"], input_shape=(1, 8, 8))
    assert {w.dtype for w in entry.network.weights.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("spec", "shape", "said"),
    [
        ("{}:biuld", (1, 8, 8), r"no function 'biuld'; did you mean 'build'"),
        ("{}:fails", (1, 8, 8), r"fails raised RuntimeError: no weights on this disk \(mine.py, line 11\)"),
        ("{}:layers", (1, 8, 8), "returned a list; return a torch.nn.Module"),
        ("{}:cls", (1, 8, 8), "returned the class itself; return an instance"),
        ("{}:Two", (1, 8, 8), r"answers with 2 values: 0 \(batch, 1, 8, 8\), 1 .*; say which one it is for: --output"),
        ("{}:chosen", (1, 8, 8), r"returns torch.int64 values; return what is computed, such as logits"),
        ("{}:scripted", (1, 8, 8), "TorchScript module, which cannot be looked into"),
        ("{}:nothing", (1, 8, 8), "has no convolution and no dense layer"),
        ("{}:meta", (1, 8, 8), "on the meta device"),
        ("{}:build", (3, 8, 8), r"shape 3x8x8: layer '0' \(Conv2d\) wants 1 channels and gets 3x8x8; .*1,H,W"),
        ("{}:build", (1, 9, 9), r"layer '3' \(Linear\) wants 256 features and gets 324; give the height and width"),
        ("{}:build", None, "input shape of .* is not known; give --input-shape C,H,W, or --data"),
        ("{}", (1, 8, 8), r"write it like .*mine.py:build"),
        ("timm:", None, "model 'timm:' names nothing; write timm:NAME"),
        ("model.onnx", None, "model.onnx cannot be read: No such file or directory"),
        ("model.pt2", (1, 8, 8), "model 'model.pt2' does not exist"),
        ("model.pth", None, "holds weights, not the network; give FILE.py:FUNCTION with --weights model.pth"),
        ("resnet8", None, "model 'resnet8' is not known; zoo:fashion-mnist, FILE.py:FUNCTION"),
        ("published", None, "model 'published' is not known; write published:NAME for what"),
        ("resnet18", None, "model 'resnet18' is not known; write published:resnet18 for what"),
    ],
)
def test_a_model_that_cannot_be_used_is_said_in_one_line(
    mine: str, spec: str, shape: tuple[int, ...] | None, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        load_models([spec.format(mine)], input_shape=shape)
    assert "\n" not in str(caught.value)


def test_entries_know_what_their_modules_answer(mine: str, small: Dataset) -> None:
    """On random inputs and on the data's, as networks see them."""
    (entry,) = load_models([f"{mine}:build"], dataset=small)
    (alone,) = load_models([f"{mine}:build"], input_shape=small.input_shape)
    (of_zoo,) = load_models(["zoo:fashion-mnist/lenet5"])
    assert entry.answers is not None
    assert alone.answers is not None
    assert of_zoo.answers is not None
    assert set(entry.answers.kinds) == {"normal", "wide", "data"}
    assert set(alone.answers.kinds) == set(of_zoo.answers.kinds) == {"normal", "wide"}
    real = small.normalise(small.calibration(4).inputs)
    np.testing.assert_array_equal(entry.answers.inputs[-len(real) :], real)


def test_model_and_data_must_agree(mine: str, small: Dataset) -> None:
    with pytest.raises(BadInput, match="takes inputs of shape 1x8x8, the data 1x4x4"):
        load_models([f"{mine}:build"], input_shape=(1, 8, 8), dataset=_cropped(small))
    eleven = replace(small, classes=(*small.classes, "ten"))
    with pytest.raises(BadInput, match="has 10 outputs and the data 'digits' 11 classes"):
        load_models([f"{mine}:build"], dataset=eleven)
    assert small.train.targets is not None
    from_one = replace(eleven, train=Split(small.train.inputs, small.train.targets + 1))
    with pytest.raises(BadInput, match="let its labels begin at 0, not 1"):
        load_models([f"{mine}:build"], dataset=from_one)
    with pytest.raises(BadInput, match="no model was named"):
        load_models([])


def _cropped(d: Dataset) -> Dataset:
    return replace(d, train=replace(d.train, inputs=d.train.inputs[:, :, :4, :4]))


# the zoo


@pytest.fixture
def little_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two entries with weights as they come out of their builders."""
    folder = tmp_path / "weights"
    folder.mkdir()
    rows = []
    for name in ("dscnn", "lenet5"):
        save_file(zoo.BUILDERS[name]().state_dict(), folder / f"{name}.safetensors")
        digest = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
        rows.append(
            {"name": name, "dataset": "fashion-mnist", "validation_accuracy": 0.9, "test_accuracy": 0.89, "macs": 1,
             "parameters": 2, "seed": 0, "epochs": 3, "licence": "Apache-2.0", "sha256": digest, "more": "ignored"}
        )  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(rows))
    monkeypatch.setattr(zoo, "WEIGHTS", folder)
    return folder


def test_all_of_the_zoo_or_one(little_zoo: Path) -> None:
    entries = load_models(["zoo:fashion-mnist"])
    assert [e.name for e in entries] == ["dscnn", "lenet5"]
    assert [e.network.graph.total_params for e in entries] == [6_442, 215_370]
    assert entries[0].source == "zoo:fashion-mnist/dscnn"
    assert entries[0].licence == "Apache-2.0"
    assert [r.test_accuracy for r in zoo.manifest()] == [0.89, 0.89]
    (one,) = load_models(["zoo:fashion-mnist/lenet5"])
    assert one.network.digest() == entries[1].network.digest() == zoo.load_zoo("fashion-mnist/lenet5").network.digest()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("zoo:fashion-mnits", "zoo 'fashion-mnits' is unknown; did you mean 'fashion-mnist'"),
        ("zoo:fashion-mnist/lenet", "zoo entry 'lenet' is unknown; did you mean 'lenet5'.; known: dscnn, lenet5"),
        ("zoo:", "known: fashion-mnist"),
    ],
)
def test_unknown_entries(little_zoo: Path, spec: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_models([spec])


def test_zoo_weights_that_are_not_those_of_the_manifest(little_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (little_zoo / "dscnn.safetensors").write_bytes(b"something else")
    with pytest.raises(BadInput, match="are not those of the manifest"):
        load_models(["zoo:fashion-mnist/dscnn"])
    with pytest.raises(BadInput, match="has 2 entries; name one, like fashion-mnist/dscnn"):
        zoo.load_zoo("fashion-mnist")
    (little_zoo / "dscnn.safetensors").unlink()
    with pytest.raises(BadInput, match="has no weights"):
        load_models(["zoo:fashion-mnist"])
    monkeypatch.setattr(zoo, "WEIGHTS", little_zoo / "nowhere")
    assert zoo.manifest() == ()
    with pytest.raises(BadInput, match="has no zoo weights"):
        load_models(["zoo:fashion-mnist"])


def test_the_shipped_zoo_is_what_its_manifest_says() -> None:
    records = zoo.manifest()
    if not records:
        pytest.skip("the zoo has no weights yet")
    for record, entry in zip(records, load_models(["zoo:fashion-mnist"]), strict=True):
        assert entry.name == record.name
        assert entry.network.graph.total_params == record.parameters
        assert entry.network.graph.total_macs == record.macs
        assert record.licence == "Apache-2.0"


# real third-party weights


@pytest.fixture(scope="module")
def first_test_picture(shared: Path) -> Array:
    imagenet = parse_normalize("0.485/0.456/0.406,0.229/0.224/0.225")
    d = load_data(str(shared / "data" / "cifar10_jpeg.zip"), normalize=imagenet)
    return d.normalise(d.open_test().inputs[:1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("depth", "logits"),
    [
        (20, [7.8901, -1.0877, 2.6342, -1.0125, -2.8370, -6.9533, -3.3481, -6.4984, 6.9738, 4.2098]),
        (56, [10.6061, -0.3235, -0.2013, -2.0149, -5.5466, -7.2062, -5.0319, -2.4766, 7.0390, 5.1449]),
    ],
)
def test_real_cifar_resnets_give_their_known_logits(
    shared: Path, first_test_picture: Array, depth: int, logits: list[float]
) -> None:
    weights = shared / "data" / "cifar_resnet" / f"resnet{depth}.safetensors"
    (entry,) = load_models([f"{RESNET}:resnet{depth}"], weights=[weights], input_shape=(3, 32, 32))
    answer = build(entry.network).eval()(torch.from_numpy(first_test_picture)).detach().numpy()
    assert answer[0] == pytest.approx(logits, abs=1e-2)


def test_a_file_of_a_whole_model_is_said_to_be_one_at_once(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 2))
    torch.save(module, tmp_path / "whole.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(tmp_path / "script.pt"))
    torch.save(module.state_dict(), tmp_path / "state.ckpt")
    for name, said in (
        ("whole.pt", "is no network that can be read: .* would run code; where you trust them, convert what"),
        ("script.pt", r"TorchScript archive.*torch.jit.load\('script.pt'\).state_dict\(\), 'script-weights.pth'"),
        ("state.ckpt", "holds weights, not the network; give FILE.py:FUNCTION with --weights"),
    ):
        with pytest.raises(BadInput, match=said):
            load_models([str(tmp_path / name)], input_shape=(4,))
