"""A vision transformer and an encoder of text at half their latency, beside what training them takes.

The ViT is the zoo's (patches of 4, six blocks of width 96, four heads), trained on Fashion-MNIST as
`chipfit zoo train vit` does; the encoder is BERT's, small, on the text of `tasks_cases.py`. Each is fitted at 50 % of
the better of fp32 and int8, and its file scored on the test part.

    vit_accuracy   of the ViT as it was trained
    vit_points     that its file at half the latency loses
    bert_loss      share of its accuracy that the encoder's file loses
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tasks_cases
import torch
from harness import RESULTS, Options, arguments, at_least, at_most, finish, table
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import chipfit
from chipfit.data.load import load_data
from chipfit.nets.vit import Block
from chipfit.nets.zoo import BUILDERS
from chipfit.train.zoo import train_zoo

WEIGHTS = RESULTS / "files" / "small_transformers"
"""Where trained weights are kept; made where they are not there."""

BUDGET, EPOCHS = "50%", {"vit": 3.0, "bert": 3.0}
BERT_EPOCHS, BERT_RATE, BATCH = 6, 1e-3, 64
HERE = Path(__file__).resolve()


class Bert(nn.Module):
    """Words and places looked up and added, two blocks, and a classifier on the first token."""

    def __init__(self, width: int = 96, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(tasks_cases.WORDS, width)
        self.positions = nn.Embedding(tasks_cases.LENGTH, width)
        self.register_buffer("places", torch.arange(tasks_cases.LENGTH)[None], persistent=False)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, 2 * width) for _ in range(depth)))
        self.pool = nn.Linear(width, width)
        self.head = nn.Linear(width, len(tasks_cases.PACKAGES))

    def forward(self, x: Tensor) -> Tensor:
        """(n, packages) logits."""
        y = self.blocks(self.norm(self.words(x) + self.positions(self.places)))
        answer: Tensor = self.head(torch.tanh(self.pool(y[:, 0])))
        return answer


def vit() -> nn.Module:
    """The zoo's ViT."""
    return BUILDERS["vit"]()


def bert() -> nn.Module:
    """The encoder."""
    return Bert()


def tokens_data() -> tasks_cases.Parts:
    """The text."""
    return tasks_cases.tokens_data()


def trained_vit(place: Path) -> dict[str, Any]:
    """Trains the ViT, and says how long it took."""
    began = time.process_time()
    train_zoo(["vit"], load_data("fashion-mnist"), place.parent)
    return {"seconds": time.process_time() - began, "threads": torch.get_num_threads()}


def trained_bert(place: Path) -> dict[str, Any]:
    """Trains the encoder as its user would have (AdamW, one cycle), and says how long it took."""
    began, rng = time.process_time(), np.random.default_rng(0)
    torch.manual_seed(0)
    net, ((inputs, targets),) = bert(), tokens_data()["train"]
    x, y, n = torch.from_numpy(inputs), torch.from_numpy(targets), len(inputs)
    optimiser = torch.optim.AdamW(net.parameters(), BERT_RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, BERT_RATE, total_steps=BERT_EPOCHS * (n // BATCH))
    for _ in range(BERT_EPOCHS):
        for rows in np.array_split(rng.permutation(n)[: n - n % BATCH], n // BATCH):
            optimiser.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
            rate.step()
    save_file(dict(net.state_dict()), str(place))
    return {"seconds": time.process_time() - began, "threads": torch.get_num_threads()}


TRAIN = {"vit": trained_vit, "bert": trained_bert}


def fitted(name: str) -> dict[str, Any]:
    """A network's row: its file at half the latency beside itself."""
    data = "fashion-mnist" if name == "vit" else f"{HERE}:tokens_data"
    with tempfile.TemporaryDirectory() as folder:
        result = chipfit.fit(
            f"{HERE}:{name}", data=data, weights=[WEIGHTS / f"{name}.safetensors"], device="onnxruntime",
            budgets=BUDGET, epochs=EPOCHS[name], baselines=False, accelerator="cpu", out=Path(folder) / "run",
        )  # fmt: skip
    best, reference = result.best, result.reference
    assert best is not None
    assert reference is not None
    assert best.test_quality is not None
    untouched = {m.name: m.latency_ms for m in result.models if m.role in ("zoo", "baseline")}
    original = next(m for m in result.models if m.role == "zoo")
    assert original.test_quality is not None
    return {
        "original": original.test_quality, "fitted": best.test_quality, "held": bool(best.meets_budget),
        "share": (best.latency_ms or np.nan) / (reference.latency_ms or np.nan),
        "untouched_ms": untouched, "ms": best.latency_ms,
    }  # fmt: skip


def main() -> None:
    """Trains what is not there, fits both, and prints what each came to."""
    options: Options = arguments(__doc__ or "")
    rows = options.rows("small_transformers")
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    for name, train in TRAIN.items():
        place = WEIGHTS / f"{name}.safetensors"
        if not place.is_file():
            rows.get(f"train {name}", lambda train=train, place=place: train(place))
    found = {name: rows.get(name, lambda n=name: fitted(n)) for name in TRAIN}
    names = ("original", "fitted", "share", "held")
    table(["network", *names], [[name, *(row[n] for n in names)] for name, row in found.items()])
    v, b = found["vit"], found["bert"]
    points = 100 * (v["original"] - v["fitted"]) if v["held"] else None
    lost = 1 - b["fitted"] / b["original"] if b["held"] else None
    targets = [at_least("vit_accuracy", v["original"], 0.9), at_most("vit_points", points, 1.0)]
    finish("small_transformers", rows, [*targets, at_most("bert_loss", lost, 0.03)], options)


if __name__ == "__main__":
    main()
