"""What a case is: a folder that is filled, the words of one command, and the exit codes that are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
"""
BASE = ("--device", "null", "--no-train", "--time", "2m", "--no-baselines", "-q")
FIT = ("fit", "net.py:build", "--data", "digits", *BASE, "--out", "run")
CHECK = ("check", "net.py:build", "--device", "null", "-q", "--input-shape", "1,8,8")
LIMIT = ("--max", "macs=60%")
BAD, FINE = (2,), (0, 2, 3)


@dataclass(frozen=True)
class Case:
    """A command that a user might type: `fill` makes the files of its folder; `one_line` where stderr has one line."""

    name: str
    words: tuple[str, ...]
    fill: Callable[[Path], None] = lambda folder: None
    codes: tuple[int, ...] = BAD
    one_line: bool = True


def text(name: str, content: str) -> Callable[[Path], None]:
    """A file with these words."""
    return lambda folder: put(folder / name, content.encode())


def put(path: Path, data: bytes) -> None:
    """Writes bytes where there may be no folder yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def without(words: Sequence[str], option: str) -> tuple[str, ...]:
    if option not in words:
        return tuple(words)
    at = list(words).index(option)
    return (*words[:at], *words[at + 2 :])


def with_data(data: str) -> tuple[str, ...]:
    return (*without(FIT, "--data"), "--data", data, *LIMIT)
