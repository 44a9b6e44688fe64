"""Fits of small data: from 16 rows on they end right, fewer are one line."""

from __future__ import annotations

from pathlib import Path

from front_case import BAD, MODEL, Case, put

ROWS = (20, 60, 200, 1000, 1025, 1216)
TOO_FEW = (1, 2, 8, 15)

LOADERS = """
import numpy as np
from sklearn.datasets import load_digits
def loaders():
    x, y = load_digits(return_X_y=True)
    x, y = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)[:{rows}], y[:{rows}] % 4
    return {{"train": [(x, {targets})]}}
"""


def small_cases() -> list[Case]:
    """Each size, labelled with and without training, and unlabelled."""
    made = [_case(rows, words, targets) for rows in ROWS for words, targets in WAYS]
    return made + [_case(rows, ("--no-train",), "y", BAD) for rows in TOO_FEW]


WAYS = ((("--no-train",), "y"), ((), "y"), (("--no-train",), "None"))
"""Options, and targets."""


def _case(rows: int, words: tuple[str, ...], targets: str, codes: tuple[int, ...] = (0,)) -> Case:
    loaders = LOADERS.format(rows=rows, targets=targets)
    loaders = loaders.replace("(x, None)", "x")
    fit = (
        "fit",
        "net.py:build",
        "--data",
        "data.py:loaders",
        "--device",
        "null",
        "--no-baselines",
        "-q",
        "--time",
        "20s",
    )
    more = ("--max", "macs=60%", "--out", "run", *(() if words else ("--epochs", "1")))
    label = f"{rows} rows, {'no training' if words else 'training'}{', unlabelled' if targets == 'None' else ''}"

    def fill(folder: Path) -> None:
        put(folder / "data.py", loaders.encode())
        put(folder / "net.py", MODEL.replace("Linear(16, 10)", "Linear(16, 4)").encode())

    return Case(label, (*fit, *more, *words), fill, codes)
