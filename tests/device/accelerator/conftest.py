"""Recorded layer tables, and networks as work for an accelerator."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from chipfit.device.accelerator.work import Layer, works
from chipfit.nets.published import published

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "hotnas2020"

Table = list[dict[str, str]]


@pytest.fixture(scope="session")
def table() -> Callable[[str], Table]:
    """The recorded layers of a network: shapes and cycles by column."""

    def read(name: str) -> Table:
        with (GOLDEN / f"{name}.csv").open() as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def convolutions() -> Callable[[str], list[Layer]]:
    """The convolutions of a published network, dense layers left out, as the core's known answers have it."""

    def of(name: str) -> list[Layer]:
        return [w for w in works(published(name)) if isinstance(w, Layer) and w.op.startswith("conv")]

    return of
