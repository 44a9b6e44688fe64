"""A user's key-word spotter: a DS-CNN of 49 x 10 features, and 1,000 rows that it is trained on.

The rows are made, not recorded: each of twelve words is a path of three formants through 49 frames, which a speaker
says faster or slower, later or earlier, higher or lower, and in noise; ten cepstral coefficients of each frame are the
features. The architecture is that of Zhang et al. 2017 ("Hello Edge"), its smallest: one convolution of 10 x 4 and
four depth-wise separable ones of 64 channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

FRAMES, BANDS, COEFFICIENTS, WORDS = 49, 24, 10, 12
TRAIN, VALIDATION, TEST = 1000, 240, 480
SPREAD = 3.0
"""Standard deviation of the coefficients, by which they are divided: float inputs are taken as they come."""

SEED, EPOCHS, BATCH = 11, 12, 50


def build() -> nn.Module:
    """The network, without weights."""
    width = 64
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, (10, 4), (2, 2), (5, 1), bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    for _ in range(4):
        layers += [nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, WORDS))


Part = tuple[NDArray[np.float32], NDArray[np.int64]]


def loaders() -> Mapping[str, list[Part]]:
    """The data, as `chipfit fit --data kws.py:loaders` reads it: float32 (n, 1, 49, 10)."""
    rng = np.random.default_rng(SEED)
    words = rng.uniform(2.0, BANDS - 2.0, (WORDS, 3, 6))  # a formant's band at six moments
    return {name: [_said(words, n, rng)] for name, n in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))}


def _said(words: NDArray[np.float64], n: int, rng: np.random.Generator) -> Part:
    labels = rng.integers(0, WORDS, n)
    return np.stack([_features(words[w], rng) for w in labels])[:, None].astype(np.float32), labels.astype(np.int64)


def _features(word: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(frames, coefficients) of one utterance of a word (formants, moments)."""
    length, begin = rng.uniform(26, 42), rng.uniform(2, 8)
    moment = (np.arange(FRAMES) - begin) / length
    voice = np.exp(-np.clip(np.abs(moment - 0.5) - 0.5, 0, None) * 12)
    bands, pitch = np.arange(BANDS), rng.normal(0, 1.2)
    energy = np.zeros((FRAMES, BANDS))
    for formant in word:
        path = np.interp(moment, np.linspace(0, 1, len(formant)), formant) + pitch + rng.normal(0, 0.4)
        energy += np.exp(-(((bands - path[:, None]) / 1.6) ** 2)) * rng.uniform(0.6, 1.0)
    spectrum = np.log(0.05 + energy * voice[:, None] + rng.gamma(1.0, 0.12, energy.shape))
    order = np.arange(COEFFICIENTS)[:, None]
    return spectrum @ (np.cos(np.pi * order * (bands + 0.5) / BANDS) * np.sqrt(2 / BANDS)).T / SPREAD


def trained(place: Path) -> Path:
    """The weights file of the network, trained as its user would have; made where it is not there."""
    if place.is_file():
        return place
    torch.manual_seed(SEED)
    net, ((inputs, labels),) = build(), loaders()["train"]
    x, y, steps = torch.from_numpy(inputs), torch.from_numpy(labels), EPOCHS * (TRAIN // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    rng = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        for rows in np.split(rng.permutation(TRAIN), TRAIN // BATCH):
            optimiser.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
            rate.step()
    save_file({k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}, str(place))
    return place
