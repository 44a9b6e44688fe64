"""A runtime that dies on one file costs that file, under its model's name; the run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.core.types import Artifact, Limit, Trial
from chipfit.data.load import load_data
from chipfit.device.child import DeviceFailed
from chipfit.device.null import Null
from chipfit.nets.trace import trace
from chipfit.nets.zoo import Entry
from chipfit.recipes import fit as recipe
from chipfit.recipes import plans
from chipfit.recipes.answer import Option
from chipfit.store.store import Store
from recipes import small

DIED = "the runtime's process ended (signal 9)"


class Dying(Null):
    """Its runtime dies on files of so many bytes as `fatal` says."""

    def __init__(self) -> None:
        super().__init__()
        self.fatal: set[bytes] = set()
        self.seen: list[bytes] = []

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if artifact.data in self.fatal:
            raise DeviceFailed(DIED, died=True)
        self.seen.append(artifact.data)
        return super().run(artifact, inputs)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def entries(dataset: Dataset) -> list[Entry]:
    """The two networks as they are born: nothing here asks how well they answer."""
    torch.manual_seed(0)
    nets = {"plain": small.plain(), "residual": small.residual()}
    return [Entry(n, trace(m.eval(), dataset.input_shape), "Apache-2.0", "test") for n, m in nets.items()]


def fitted(folder: Path, dataset: Dataset, device: Null, said: list[str]) -> tuple[Trial, ...]:
    settings = replace(small.SETTINGS, budgets=((Limit("latency_ms", 0.015),),), train=False)
    with Store.open_or_create(folder, {"test": "dies"}) as store:
        return recipe.fit(
            entries(dataset), dataset, [device], settings, store, store.memory, Deadline.never(),
            lambda phase, detail: said.append(f"{phase}: {detail}"),
        )  # fmt: skip


def test_in_screen_it_is_a_failed_trial_with_the_models_name(tmp_path: Path, digits: Dataset) -> None:
    device = Dying()
    whole = fitted(tmp_path / "whole", digits, device, [])
    device.fatal = {device.seen[0]}
    finals = fitted(tmp_path / "run", digits, device, [])
    with Store(tmp_path / "run", read_only=True) as store:
        assert store.finished
        lost = [t for t in store.trials() if t.error is not None]
    assert "zoo" in {t.labels["role"] for t in lost}
    assert {(t.labels["model"], t.error) for t in lost} == {("plain", DIED)}, "another file than this one failed"
    assert len(finals) == len(whole) == 1
    assert finals[0].error is None


def test_in_the_final_measure_it_is_one_failed_design(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, said = Dying(), list[str]()
    real = plans.file_all

    def file_all(run: object, tuned: object, budgets: object) -> list[Option]:
        first = next(t for t in tuned if t.role == "candidate")  # type: ignore[attr-defined]
        device.fatal = {run.deployer.export(first.network).data}  # type: ignore[attr-defined]
        return real(run, tuned, budgets)  # type: ignore[arg-type]

    monkeypatch.setattr(plans, "file_all", file_all)
    (final,) = fitted(tmp_path / "run", digits, device, said)
    assert final.error is None
    with Store(tmp_path / "run", read_only=True) as store:
        lost = [t for t in store.trials() if t.error is not None]
    assert lost
    assert {(t.labels["role"], t.error) for t in lost} <= {("candidate", DIED), ("baseline", DIED)}
    assert any("failed: the runtime's process ended" in line for line in said)


def test_where_no_model_survives_the_first_is_named(tmp_path: Path, digits: Dataset) -> None:
    class Dead(Null):
        def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            raise DeviceFailed(DIED, died=True)

    with pytest.raises(ChipfitError, match=r"no model can be timed on this device: plain: the runtime's process"):
        fitted(tmp_path / "run", digits, Dead(), [])
