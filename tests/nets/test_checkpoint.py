from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
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
        (_shape, r"1 shape differs, the first is '3.weight': \(5, 12\) in the file, \(2, 12\) in the model"),
        (_nan, "NaN or infinite values in 1 tensor, the first is '1.running_var'"),
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


@pytest.mark.parametrize("name", ["w.ckpt", "w.bin"])
def test_checkpoints_by_other_names_are_read(tmp_path: Path, trained: nn.Sequential, name: str) -> None:
    torch.save({"state_dict": trained.state_dict(), "epoch": 3}, tmp_path / name)
    module = net()
    load_into(module, tmp_path / name)
    assert all(torch.equal(t, trained.state_dict()[n]) for n, t in module.state_dict().items())


def test_a_pickle_of_more_than_tensors_is_not_run(tmp_path: Path, trained: nn.Sequential) -> None:
    torch.save(trained, tmp_path / "whole.pt")
    with pytest.raises(BadInput, match="would run code; where you trust them, convert what torch.load") as caught:
        load_into(net(), tmp_path / "whole.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"not a checkpoint", "cannot be read|would run code"),
        ("w.pt", b"", "cannot be read"),
        ("w.safetensors", b"not a checkpoint", "are no safetensors file"),
        ("w.h5", b"", "of unknown kind '.h5'; give .safetensors, .pt, .pth, .ckpt, .bin"),
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


FLOATING = (torch.float16, torch.bfloat16, torch.float64)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_widths_of_floats_are_converted_and_told(
    tmp_path: Path, trained: nn.Sequential, dtype: torch.dtype, name: str
) -> None:
    save = save_file if name.endswith("safetensors") else torch.save
    save({n: t.to(dtype) if t.is_floating_point() else t for n, t in trained.state_dict().items()}, tmp_path / name)
    module = net()
    assert load_into(module, tmp_path / name) == f"{dtype} as torch.float32".replace("torch.", "")
    assert module[0].weight.dtype == torch.float32
    torch.testing.assert_close(module[0].weight, trained[0].weight, atol=0.02, rtol=0.02)
    torch.save(trained.state_dict(), tmp_path / "same.pth")
    assert load_into(net(), tmp_path / "same.pth") == ""


def _quantised(t: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: (t * 50).to(torch.int8), "'0.weight' is int8 in the file, and float weights are wanted"),
        (lambda t: (t * 50).to(torch.int64), "is int64 in the file"),
        (lambda t: (t * 50).to(torch.uint8), "is uint8 in the file"),
        (lambda t: t > 0, "is bool in the file"),
        (lambda t: t.to(torch.complex64), "complex weights are not supported"),
        (lambda t: t.to(torch.float8_e4m3fn), "8-bit floats mean nothing without their scales"),
        (lambda t: t.to(torch.float8_e5m2), "8-bit floats mean nothing without their scales"),
        (lambda t: t.to_sparse(), r"is sparse or packed \(sparse_coo\)"),
        (lambda t: t.flatten(1).to_sparse_csr(), r"is sparse or packed \(sparse_csr\)"),
        (lambda t: t.to("meta"), "has no values"),
        (_quantised, r"is quantised \(qint8\)"),
    ],
)
def test_what_cannot_stand_for_float_weights_is_named_with_its_kind(
    tmp_path: Path, trained: nn.Sequential, change: Any, said: str
) -> None:
    torch.save({**trained.state_dict(), "0.weight": change(trained[0].weight.detach())}, tmp_path / "w.pth")
    module = net()
    before = {n: t.clone() for n, t in module.state_dict().items()}
    with pytest.raises(BadInput, match=said) as caught:
        load_into(module, tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


def test_floats_too_large_for_the_model_and_masks_that_are_infinite(tmp_path: Path) -> None:
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    state = Masked().state_dict()
    torch.save(state, tmp_path / "w.pth")
    load_into(Masked(), tmp_path / "w.pth")
    torch.save({**state, "weight": torch.full((2, 2), 1e300, dtype=torch.float64)}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="'weight' holds values too large for torch.float32"):
        load_into(Masked(), tmp_path / "w.pth")


def test_integers_that_the_model_holds_as_integers(tmp_path: Path) -> None:
    class Indexed(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("index", torch.tensor([3, 1], dtype=torch.int32))

    state = Indexed().state_dict()
    torch.save({**state, "index": torch.tensor([1, 0])}, tmp_path / "w.pth")
    module = Indexed()
    load_into(module, tmp_path / "w.pth")
    assert module.index.tolist() == [1, 0]
    for other in (torch.tensor([2**40, 0]), torch.tensor([1.0, 0.0]), torch.tensor([True, False])):
        torch.save({**state, "index": other}, tmp_path / "w.pth")
        with pytest.raises(BadInput, match="'index' is .* in the file, and int32 in the model"):
            load_into(Indexed(), tmp_path / "w.pth")


def tied() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


@pytest.mark.parametrize("kept", ["0.weight", "2.weight", None])
def test_one_name_of_two_that_are_tied_is_enough(tmp_path: Path, kept: str | None) -> None:
    source = tied()
    if kept is None:
        save_model(source, str(tmp_path / "w.safetensors"))
    else:
        other = {"0.weight": "2.weight", "2.weight": "0.weight"}[kept]
        save_file({n: t for n, t in source.state_dict().items() if n != other}, tmp_path / "w.safetensors")
    module = tied()
    load_into(module, tmp_path / "w.safetensors")
    assert same(module, source)
    assert module[0].weight is module[2].weight


def test_two_values_for_one_tensor_are_refused_and_two_equal_ones_are_not(tmp_path: Path) -> None:
    state = {n: t.clone() for n, t in tied().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    load_into(tied(), tmp_path / "w.safetensors")
    state["2.weight"] = state["2.weight"] + 1e-3
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"'0.weight' and '2.weight' are one tensor in the model \(tied\), and differ"):
        load_into(tied(), tmp_path / "w.safetensors")


def test_both_names_of_a_tied_tensor_missing_are_missing(tmp_path: Path) -> None:
    state = {n: t for n, t in tied().state_dict().items() if "bias" in n}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"2 missing \(0.weight, 2.weight\)"):
        load_into(tied(), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.module.", "module._orig_mod.", "module.module.", "model.", "net.", "ema.module.", "a.b._orig_mod.c."],
)
@pytest.mark.parametrize("nest", [(), ("state_dict",), ("ema",), ("model", "state_dict"), ("net",)])
def test_wrappers_in_any_order_and_nests_in_nests(
    tmp_path: Path, trained: nn.Sequential, prefix: str, nest: tuple[str, ...]
) -> None:
    found: dict[str, Any] = {prefix + n: t for n, t in trained.state_dict().items()}
    for word in nest:
        found = {"epoch": 3, word: found}
    torch.save(found, tmp_path / "w.pt")
    module = net()
    load_into(module, tmp_path / "w.pt")
    assert same(module, trained)


def test_wrappers_of_the_module_itself_and_inside_it(tmp_path: Path, trained: nn.Sequential) -> None:
    torch.save({n.replace("0.", "0._orig_mod.", 1): t for n, t in trained.state_dict().items()}, tmp_path / "w.pt")
    wrapped = nn.Sequential()
    wrapped.add_module("backbone", net())
    load_into(wrapped, tmp_path / "w.pt")
    assert same(wrapped.backbone, trained)


def test_a_prefix_comes_off_only_where_the_rest_is_the_module(tmp_path: Path) -> None:
    """One linear layer called fc is not the layer of that name of another model."""
    module = nn.Sequential()
    module.add_module("fc", nn.Linear(2, 2))
    state = {f"fc.{n}": t for n, t in nn.Linear(2, 2).state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    load_into(module, tmp_path / "w.pt")
    assert torch.equal(module.fc.weight, state["fc.weight"])
    torch.save({**state, "head.weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"1 unexpected \(head.weight\)"):
        load_into(module, tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_old_and_new_and_its_absence(tmp_path: Path) -> None:
    old, new = nn.utils.weight_norm(nn.Linear(3, 2)), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    torch.save(old.state_dict(), tmp_path / "old.pt")
    load_into(new, tmp_path / "old.pt")
    x = torch.randn(4, 3)
    torch.testing.assert_close(new(x), old(x))
    again = nn.utils.weight_norm(nn.Linear(3, 2))
    torch.save(new.state_dict(), tmp_path / "new.pt")
    load_into(again, tmp_path / "new.pt")
    torch.testing.assert_close(again(x), new(x))
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(BadInput, match="the model's weights are parametrised"):
        load_into(new, tmp_path / "plain.pt")


def _bytes(save: Any, name: str) -> bytes:
    with TemporaryDirectory() as folder:
        save(f"{folder}/{name}")
        return Path(folder, name).read_bytes()


def _zip(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return made.getvalue()


CHECKPOINT = _bytes(lambda p: torch.save(net().state_dict(), p), "w.pth")
OLD = _bytes(lambda p: torch.save(net().state_dict(), p, _use_new_zipfile_serialization=False), "w.pth")
SAFE = _bytes(lambda p: save_file(net().state_dict(), p), "w.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pth", SAFE, "are no torch file but a safetensors file by their content; rename it to w.safetensors"),
        ("w.safetensors", CHECKPOINT, "but a torch checkpoint by their content; rename it to w.pth"),
        ("w.safetensors", OLD, "but a torch checkpoint by their content; rename it to w.pth"),
        ("w.safetensors", pickle.dumps({"a": 1}), "but a torch checkpoint"),
        ("w.pth", b"\n <!DOCTYPE html><html>", "a web page"),
        ("w.safetensors", b"<html>", "a web page"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("w.pth", gzip.compress(CHECKPOINT), "compressed with gzip"),
        ("w.safetensors", b"", r"empty \(0 bytes\)"),
        ("w.pth", _zip("a/weights.npy"), "a NumPy archive"),
        ("w.pth", _zip("readme.txt"), "a zip archive without a state dict"),
        ("w.pth", _zip("m/data.pkl", "m/constants.pkl", "m/code/x.py"), "a TorchScript archive, which holds code"),
        ("w.pth", CHECKPOINT[: len(CHECKPOINT) // 2], "cut off or damaged"),
        ("w.pth", OLD[: len(OLD) - 30], "cannot be read"),
        ("w.pth", OLD[:60], "cannot be read"),
        ("w.pth", b"\x80\x02}q\x00(X", "cannot be read"),
        ("w.pth", b"\x00" * 100, "neither a safetensors file nor a torch checkpoint"),
        ("w.safetensors", SAFE[: len(SAFE) - 10], "no safetensors file"),
        ("w.safetensors", SAFE[:40], "cut off"),
        ("w.safetensors", (2**60).to_bytes(8, "little") + b"{}", "cut off"),
        ("w.safetensors", (4).to_bytes(8, "little") + b"{}}}", "no safetensors file that can be read"),
        ("w.pth", pickle.dumps(nn.ReLU()), "hold more than tensors"),
        ("w.pth", pickle.dumps([1, 2]), r"hold more than tensors \(a pickle of another kind\)"),
    ],
)
def test_a_file_is_told_by_its_content(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        load_into(net(), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_folders_and_pipes_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "w.pth").mkdir()
    with pytest.raises(BadInput, match="are a folder"):
        load_into(net(), tmp_path / "w.pth")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        with pytest.raises(BadInput, match="are no regular file"):
            load_into(net(), tmp_path / "pipe.pth")


def test_tensors_beside_other_things_are_told(tmp_path: Path, trained: nn.Sequential) -> None:
    torch.save({**trained.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"hold no state dict but tensors together with epoch \(int\)"):
        load_into(net(), tmp_path / "w.pt")
