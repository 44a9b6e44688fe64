"""Five networks that are no plain picture classifiers, and their data: what `tasks.py` fits.

They are so large that half their latency is more than what any network costs: the call of the runtime and the start of
each kernel take some 10 µs of the time of networks of this depth, however narrow.

Each has a builder, a function for `chipfit fit --data tasks_cases.py:NAME_data`, and the weights that its user would
have trained. Rows are real where there are any: positions of Bragg peaks (patches are generated around them), pictures
of Fashion-MNIST put together, and the documentation of installed packages; the spoken words of `kws` are made.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kws
import numpy as np
import torch
from harness import SHARED
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.data.load import load_data

BATCH, RATE = 64, 3e-3

Floats = NDArray[np.float32]
Part = tuple[NDArray[Any], NDArray[Any]]
Parts = Mapping[str, list[Part]]

SIZES = {"train": 6000, "validation": 1000, "test": 2000}
"""Rows of each part."""


# -- regression: where a Bragg peak lies -------------------------------------------------------------------------------


def regression() -> nn.Module:
    """BraggNN's convolutions and dense layers (Liu et al. 2022), without its attention: two numbers."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3), nn.LeakyReLU(0.01), nn.Conv2d(64, 32, 3), nn.LeakyReLU(0.01),
        nn.Conv2d(32, 16, 3), nn.LeakyReLU(0.01), nn.Flatten(),
        nn.Linear(400, 64), nn.LeakyReLU(0.01), nn.Linear(64, 16), nn.LeakyReLU(0.01), nn.Linear(16, 2),
    )  # fmt: skip


def regression_data() -> Parts:
    """Hard patches (n, 1, 11, 11) with a neighbour in a third, and the position (column, row) of the peak in pixels."""
    rng = np.random.default_rng(5)
    return {name: [_patches(positions, rng)] for name, positions in _positions(rng).items()}


def _positions(rng: np.random.Generator) -> Mapping[str, Floats]:
    """Sub-pixel parts of real positions, cut by frame; uniform ones where the table is not at hand."""
    table = SHARED / "bragg" / "peaks_psz11.npz"
    if not table.is_file():
        return {name: rng.random((n, 2)).astype(np.float32) for name, n in SIZES.items()}
    peaks = np.load(table)
    rows = np.stack([peaks["peak_col"], peaks["peak_row"]], 1)
    good = (peaks["npeaks"] == 1) & (peaks["deviations"] >= 0) & (peaks["deviations"] < 1)
    ends = np.cumsum([0.8, 0.1, 0.1]) * len(rows)
    cuts = np.split(np.arange(len(rows)), ends[:2].astype(int))
    found = {}
    for (name, n), cut in zip(SIZES.items(), cuts, strict=True):
        usable = rows[cut[good[cut]]]
        found[name] = (usable[rng.choice(len(usable), n, replace=False)] % 1).astype(np.float32)
    return found


def _patches(within: Floats, rng: np.random.Generator) -> Part:
    """Noisy pseudo-Voigt peaks at 5 + `within`, scaled to 0..1, and their positions."""
    n = len(within)
    grid = np.arange(11, dtype=np.float32)
    targets = 5 + within
    height = np.exp(rng.uniform(np.log(50), np.log(2000), n))
    counts = _peak(grid, targets, height, rng) + 20
    angle, far = rng.uniform(0, 2 * np.pi, n), rng.uniform(2.5, 5, n)
    beside = targets + np.stack([np.cos(angle), np.sin(angle)], 1) * far[:, None]
    weak = height * rng.uniform(0.1, 0.5, n) * (rng.random(n) < 0.3)
    found = rng.poisson(counts + _peak(grid, beside, weak, rng)).astype(np.float32)
    low, high = found.min((1, 2), keepdims=True), found.max((1, 2), keepdims=True)
    return ((found - low) / np.maximum(high - low, 1))[:, None].astype(np.float32), targets.astype(np.float32)


def _peak(grid: Floats, at: NDArray[Any], height: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """(n, 11, 11) peaks with half a Gaussian's and half a Lorentzian's shape, of random width."""
    x, y = grid[None, None, :] - at[:, 0, None, None], grid[None, :, None] - at[:, 1, None, None]
    a, b = np.exp(rng.uniform(np.log(0.6), np.log(1.2), (2, len(at), 1, 1)))
    share, z = rng.uniform(0, 0.5, (len(at), 1, 1)), (x / a) ** 2 + (y / b) ** 2
    return height[:, None, None] * ((1 - share) * np.exp(-z / 2) + share / (1 + z / (2 * np.log(2))))


# -- multi-label: what is in a picture of several things ---------------------------------------------------------------


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.project = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's answer."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.project(x))


def labels() -> nn.Module:
    """A small residual network with a logit for each kind of thing."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        Block(32, 64, 2), Block(64, 128, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def labels_data() -> Parts:
    """A thing on the left, on the right or on both sides, (n, 1, 28, 56) bytes, and which of ten kinds are there."""
    return {name: [_things(name, n)] for name, n in SIZES.items()}


def _things(name: str, n: int) -> Part:
    pictures, kinds, rng = _fashion(name)
    canvas, there = np.zeros((n, 28, 56), np.uint8), np.zeros((n, 10), np.int64)
    sides = rng.integers(1, 4, n)  # the left one, the right one, or both
    for side, left in ((1, 0), (2, 28)):
        rows = np.flatnonzero(sides & side)
        picks = rng.integers(0, len(pictures), len(rows))
        canvas[rows, :, left : left + 28] = pictures[picks]
        there[rows, kinds[picks]] = 1
    return canvas[:, None], there


def _fashion(name: str) -> tuple[NDArray[np.uint8], NDArray[Any], np.random.Generator]:
    """Pictures and kinds of a part, of Fashion-MNIST or else of the digits, and a generator of its own."""
    try:
        data = load_data("fashion-mnist")
    except Exception:  # it is not installed: smaller pictures then, in the same place
        data = load_data("digits")
    part = {"train": data.train, "validation": data.validation}.get(name) or data.open_test()
    pictures = np.asarray(part.inputs[:12000, 0])
    if pictures.shape[1] < 28:
        pictures = np.pad(pictures.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    assert part.targets is not None
    return pictures, part.targets[:12000], np.random.default_rng(list(SIZES).index(name))


# -- segmentation: which thing each pixel belongs to -------------------------------------------------------------------


class Segmenter(nn.Module):
    """A small U-Net: two halvings, and back by transposed convolutions with the maps from before beside them."""

    def __init__(self, width: int = 32, classes: int = 11) -> None:
        super().__init__()
        self.one = _conv(1, width)
        self.two = _conv(width, 2 * width)
        self.three = _conv(2 * width, 4 * width)
        self.up_two = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.back_two = _conv(4 * width, 2 * width)
        self.up_one = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.back_one = _conv(2 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes, H, W) logits."""
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        three = self.three(F.max_pool2d(two, 2))
        y = self.back_two(torch.cat([self.up_two(three), two], 1))
        y = self.back_one(torch.cat([self.up_one(y), one], 1))
        answer: Tensor = self.head(y)
        return answer


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def segmentation() -> nn.Module:
    """The U-Net."""
    return Segmenter()


def segmentation_data() -> Parts:
    """A thing somewhere in noise, (n, 1, 32, 32) bytes, and the kind of thing at each pixel, 0 where there is none."""
    return {name: [_scene(name, n // 4)] for name, n in SIZES.items()}


def _scene(name: str, n: int) -> Part:
    pictures, kinds, rng = _fashion(name)
    canvas, classes = rng.integers(0, 40, (n, 32, 32)).astype(np.uint8), np.zeros((n, 32, 32), np.int64)
    for row, pick in enumerate(rng.integers(0, len(pictures), n)):
        top, left = rng.integers(0, 5, 2)
        place, thing = np.s_[row, top : top + 28, left : left + 28], pictures[pick]
        canvas[place] = np.maximum(canvas[place], thing)
        classes[place] = np.where(thing > 40, kinds[pick] + 1, 0)
    return canvas[:, None], classes


# -- tokens: whose documentation a text is from ------------------------------------------------------------------------

PACKAGES = ("numpy", "scipy", "sklearn", "torch", "onnx", "pydantic", "plotly", "rich")
LENGTH, WORDS, FILES = 48, 4000, 200
KEPT_WORDS = Path(__file__).parent / "results" / "files" / "tasks" / "words.npz"


class TextNet(nn.Module):
    """Words looked up, two convolutions over their sequence, and the largest of each channel (Kim 2014)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.look = nn.Embedding(WORDS, width)
        self.first = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.second = nn.Conv1d(2 * width, 2 * width, 3, padding=1)
        self.head = nn.Linear(2 * width, len(PACKAGES))

    def forward(self, x: Tensor) -> Tensor:
        """(n, packages) logits."""
        y = self.look(x).transpose(1, 2)
        y = torch.relu(self.second(torch.relu(self.first(y))))
        answer: Tensor = self.head(y.amax(2))
        return answer


def tokens() -> nn.Module:
    """The text network."""
    return TextNet()


def tokens_data() -> Parts:
    """Windows of words (n, 48) of the documentation of eight packages, as numbers, and the package.

    They are read once, which takes a minute, and kept.
    """
    if not KEPT_WORDS.is_file():
        KEPT_WORDS.parent.mkdir(parents=True, exist_ok=True)
        made = {f"{name} {n}": of for name, ((x, y),) in _documented().items() for n, of in enumerate((x, y))}
        np.savez_compressed(KEPT_WORDS, **made)
    kept = np.load(KEPT_WORDS)
    return {name: [(kept[f"{name} 0"], kept[f"{name} 1"])] for name in SIZES}


def _documented() -> Parts:
    """The windows, from the packages' files."""
    rng, found = np.random.default_rng(3), [_words(package) for package in PACKAGES]
    counts: dict[str, int] = {}
    for texts in found:
        for word in (w for text in texts[: len(texts) * 8 // 10] for w in text):
            counts[word] = counts.get(word, 0) + 1
    known = sorted(counts, key=lambda w: (-counts[w], w))[: WORDS - 1]
    numbers = {word: n + 1 for n, word in enumerate(known)}
    rows: dict[str, list[Part]] = {name: [] for name in SIZES}
    for label, texts in enumerate(found):
        cuts = np.split(np.arange(len(texts)), [len(texts) * 8 // 10, len(texts) * 9 // 10])
        for (name, n), cut in zip(SIZES.items(), cuts, strict=True):
            rows[name].append(_windows([texts[i] for i in cut], numbers, label, n // len(PACKAGES), rng))
    return {name: [_shuffled(parts, rng)] for name, parts in rows.items()}


def _words(package: str) -> list[list[str]]:
    """The words of the docstrings of a package's files, read and not imported; its own name and short ones left out."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    texts = []
    for path in sorted(Path(spec.origin).parent.rglob("*.py"))[:FILES]:
        if "test" in str(path):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="ignore"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                said = (ast.get_docstring(node) or "").lower().split()
                words = [w.strip(".,:;()[]`'\"*") for w in said]
                texts.append([w for w in words if len(w) > 1 and package not in w])
    return [text for text in texts if len(text) >= 8]


def _windows(texts: list[list[str]], numbers: Mapping[str, int], label: int, n: int, rng: np.random.Generator) -> Part:
    x = np.zeros((n, LENGTH), np.int64)
    for row in range(n):
        text = texts[rng.integers(len(texts))]
        begin = rng.integers(0, max(1, len(text) - LENGTH // 3))
        taken = [numbers.get(word, 0) for word in text[begin : begin + LENGTH // 3]]
        x[row, : len(taken)] = taken
    return x, np.full(n, label)


def _shuffled(parts: list[Part], rng: np.random.Generator) -> Part:
    x, y = (np.concatenate(of) for of in zip(*parts, strict=True))
    order = rng.permutation(len(x))
    return x[order], y[order]


# -- signals: which word is said ---------------------------------------------------------------------------------------


class SignalNet(nn.Module):
    """Three 1-D convolutions over time with batch norm and pools."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((kws.COEFFICIENTS, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv1d(inputs, outputs, 5, padding=2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
            layers.append(nn.MaxPool1d(2))
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, kws.WORDS))

    def forward(self, x: Tensor) -> Tensor:
        """(n, words) logits."""
        answer: Tensor = self.layers(x)
        return answer


def signals() -> nn.Module:
    """The 1-D network."""
    return SignalNet()


def signals_data() -> Parts:
    """Cepstral coefficients over time, (n, 10, 49), and the word: the rows of `kws` as signals."""
    return {name: [(x[:, 0].transpose(0, 2, 1).copy(), y) for x, y in parts] for name, parts in kws.loaders().items()}


# -- what their users have trained -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its data, the task that is to be seen in them, and the epochs that its user trained."""

    build: Callable[[], nn.Module]
    data: Callable[[], Parts]
    task: str
    epochs: int


CASES = {
    "regression": Case(regression, regression_data, "regression", 20),
    "labels": Case(labels, labels_data, "multi-label", 12),
    "segmentation": Case(segmentation, segmentation_data, "segmentation", 12),
    "tokens": Case(tokens, tokens_data, "classification", 6),
    "signals": Case(signals, signals_data, "classification", 15),
}
LOSS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "regression": F.mse_loss,
    "multi-label": lambda a, t: F.binary_cross_entropy_with_logits(a, t.float()),
    "segmentation": F.cross_entropy,
    "classification": F.cross_entropy,
}


def trained(name: str, place: Path) -> Path:
    """The weights of a case, trained as its user would have (AdamW, one cycle); made where they are not there."""
    if place.is_file():
        return place
    torch.manual_seed(0)
    case = CASES[name]
    net, ((inputs, targets),) = case.build(), case.data()["train"]
    x, y, n = prepared(inputs, inputs), torch.from_numpy(targets), len(inputs)
    steps, rng = case.epochs * (n // BATCH), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(case.epochs):
        for rows in np.array_split(rng.permutation(n)[: n - n % BATCH], n // BATCH):
            optimiser.zero_grad()
            LOSS[case.task](net(x[rows]), y[rows]).backward()
            optimiser.step()
            rate.step()
    save_file({k: v.contiguous() for k, v in net.state_dict().items() if "num_batches" not in k}, str(place))
    return place


def prepared(inputs: NDArray[Any], train: NDArray[Any]) -> Tensor:
    """Inputs as chipfit has networks see them: bytes with mean 0 and deviation 1 over train, others as they are."""
    x = torch.from_numpy(inputs)
    if inputs.dtype != np.uint8:
        return x
    mean, deviation = round(float(train.mean() / 255), 4), round(float(train.std() / 255), 4)
    return (x.float() / 255 - mean) / deviation


def loaded(name: str, place: Path) -> nn.Module:
    """A case's network with the weights that its user trained."""
    net = CASES[name].build()
    net.load_state_dict(load_file(str(trained(name, place))), strict=False)
    return net.eval()
