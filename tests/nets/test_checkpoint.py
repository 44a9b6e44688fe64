from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from chipfit.core.errors import BadInput
from chipfit.nets.checkpoint import load_into


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


@pytest.fixture
def trained() -> nn.Sequential:
    torch.manual_seed(1)
    module = net()
    module[1].running_mean += 1.5
    return module


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_state_dicts_load_from_wherever_training_scripts_put_them(
    tmp_path: Path, trained: nn.Sequential, nest: str | None, prefix: str
) -> None:
    state: dict[str, Any] = {prefix + n: t for n, t in trained.state_dict().items()}
    torch.save({nest: state, "epoch": 3} if nest else state, tmp_path / "w.pt")
    module = net()
    load_into(module, tmp_path / "w.pt")
    assert same(module, trained)


def test_safetensors_without_counters_load(tmp_path: Path, trained: nn.Sequential) -> None:
    state = {n: t for n, t in trained.state_dict().items() if "num_batches" not in n}
    save_file(state, tmp_path / "w.safetensors")
    module = net()
    load_into(module, tmp_path / "w.safetensors")
    assert same(module, trained)


def _missing(state: dict[str, Any]) -> None:
    del state["0.weight"]
    state["3.wait"] = torch.zeros(2)


def _shape(state: dict[str, Any]) -> None:
    state["3.weight"] = torch.zeros(5, 12)


def _nan(state: dict[str, Any]) -> None:
    state["1.running_var"][1] = torch.nan


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_missing, r"do not fit the model: 1 missing \(0.weight\) and 1 unexpected \(3.wait\)"),
        (_shape, r"1 shapes differ, the first is '3.weight': \(5, 12\) in the file, \(2, 12\) in the model"),
        (_nan, "NaN or infinite values in 1 tensors, the first is '1.running_var'"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    tmp_path: Path, trained: nn.Sequential, spoil: Any, said: str, name: str
) -> None:
    state: dict[str, Any] = {n: t.clone() for n, t in trained.state_dict().items()}
    spoil(state)
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    module = net()
    before = {n: t.clone() for n, t in module.state_dict().items()}
    with pytest.raises(BadInput, match=said):
        load_into(module, tmp_path / name)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


def test_a_pickle_of_more_than_tensors_is_not_run(tmp_path: Path, trained: nn.Sequential) -> None:
    torch.save(trained, tmp_path / "whole.pt")
    with pytest.raises(BadInput, match="would run code; convert them once where you trust them") as caught:
        load_into(net(), tmp_path / "whole.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"not a checkpoint", "cannot be read|would run code"),
        ("w.pt", b"", "cannot be read"),
        ("w.safetensors", b"not a checkpoint", "are no safetensors file"),
        ("w.bin", b"", "of unknown kind '.bin'; give .safetensors, .pt or .pth"),
        ("absent.pt", None, "do not exist"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said):
        load_into(net(), tmp_path / name)


@pytest.mark.parametrize(
    ("found", "said"), [({"epoch": 3}, "no state dict but a dict of epoch"), (torch.zeros(3), "but Tensor")]
)
def test_files_that_hold_something_else(tmp_path: Path, found: object, said: str) -> None:
    torch.save(found, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=said):
        load_into(net(), tmp_path / "w.pt")
