"""Exported programs: read where they are tensors and operators, refused before anything in them runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.core.errors import BadInput
from chipfit.nets.load import load_models
from chipfit.nets.pt2 import EXPRESSION, check_archive


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "mine.pt2"
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(net(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


def test_a_program_is_the_network_that_it_was_made_of(saved: Path) -> None:
    (entry,) = load_models([str(saved)], input_shape=(1, 8, 8))
    assert (entry.name, entry.source) == ("mine", str(saved))
    assert [o.kind for o in entry.network.graph if o.kind in ("conv", "linear")] == ["conv", "linear"]
    assert entry.answers is not None
    with torch.no_grad():
        want = net()(torch.from_numpy(entry.answers.inputs)).numpy()
    np.testing.assert_allclose(entry.answers.outputs, want, rtol=1e-4, atol=1e-5)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.place, "w"))


Change = Callable[[str, bytes], bytes]


def altered(path: Path, change: Change, more: dict[str, bytes] | None = None) -> bytes:
    """The archive with its files changed, and others added."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
        root = old.namelist()[0].partition("/")[0]
        for name, content in (more or {}).items():
            new.writestr(f"{root}/{name}", content)
    return out.getvalue()


def in_program(edit: Callable[[str], str]) -> Change:
    def change(name: str, content: bytes) -> bytes:
        return edit(content.decode()).encode() if "/models/" in name else content

    return change


def same(name: str, content: bytes) -> bytes:
    return content


def test_an_archive_as_it_was_saved_is_sound_and_others_are_not(saved: Path, tmp_path: Path) -> None:
    check_archive(altered(saved, same), "model")
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))

    def pickled(name: str, content: bytes) -> bytes:
        return bomb if "/sample_inputs/" in name else content

    def pickled_weights(name: str, content: bytes) -> bytes:
        return (
            content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("config.json") else content
        )

    cases = [
        (altered(saved, pickled), "sample inputs that are more than tensors"),
        (altered(saved, pickled_weights), "holds pickled tensors"),
        (altered(saved, same, {"data/constants/opaque_obj_0": bomb}), "which is code or an object"),
        (altered(saved, same, {"data/aotinductor/model/a.so": b""}), "which is code or an object"),
        (altered(saved, same, {"data/weights/model.pt": bomb}), "in an old form that is unpickled"),
        (
            altered(saved, in_program(lambda t: t.replace("torch.ops.aten.relu.default", "torch.os.system"))),
            "calls 'torch.os",
        ),
        (altered(saved, in_program(lambda t: t.replace("torch.ops.aten.relu.default", "#x:y"))), "calls '#x:y'"),
        (altered(saved, in_program(_worse_size)), "no plain expression"),
        (b"PK", "is no file of torch.export.save"),
    ]
    for data, said in cases:
        with pytest.raises(BadInput, match=said) as caught:
            check_archive(data, "model 'x.pt2'")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def _worse_size(text: str) -> str:
    """The program with a size that would be run as Python."""
    program = json.loads(text)
    program["graph_module"]["graph"]["sym_int_values"] = {"s0": {"as_expr": {"expr_str": "__import__('os').getcwd()"}}}
    return json.dumps(program)


@pytest.mark.parametrize("text", ["s0", "2*s77 + 1", "Max(1, s0)", "FloorDiv(s0 + 1, 2)", "u0", "-9223372036854775808"])
def test_sizes_are_plain_expressions(text: str) -> None:
    assert EXPRESSION.fullmatch(text)


@pytest.mark.parametrize("text", ["os.getcwd()", "__import__('os')", "x.y", "print(1)", "lambda: 1", "[1]", "exec(s0)"])
def test_other_texts_are_none(text: str) -> None:
    assert not EXPRESSION.fullmatch(text)


def test_a_program_of_one_batch_size_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net(), (torch.zeros(2, 1, 8, 8),)), tmp_path / "fixed.pt2")
    with pytest.raises(BadInput, match="batch") as caught:
        load_models([str(tmp_path / "fixed.pt2")], input_shape=(1, 8, 8))
    assert "\n" not in str(caught.value)
