"""The published CIFAR ResNets on the JPEGs of `../shared/data`, as a user brings them: a file, weights, a zip."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from harness import SHARED

from chipfit.core.data import Dataset
from chipfit.data.load import load_data
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry

MODEL = Path(__file__).resolve().parents[1] / "tests" / "models" / "cifar_resnet.py"
PICTURES = SHARED / "cifar10_jpeg.zip"
MEANS_STDS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's channels: what published networks of colour pictures are trained with."""


def weights(name: str) -> Path:
    """Where the published weights of a network lie."""
    return SHARED / "cifar_resnet" / f"{name}.safetensors"


@cache
def cifar_networks() -> tuple[Dataset, tuple[Entry, ...]] | None:
    """ResNet-20 and ResNet-56, with their data; None, which is told, where these are absent."""
    if not SHARED.is_dir():
        print("CIFAR rows need ../shared/data, which is absent: skipped")
        return None
    names = ("resnet20", "resnet56")
    dataset = load_data(str(PICTURES), normalize=MEANS_STDS)
    loaded = load_models([f"{MODEL}:{n}" for n in names], weights=[weights(n) for n in names], dataset=dataset)
    return dataset, tuple(replace(entry, name=n) for n, entry in zip(names, loaded, strict=True))
