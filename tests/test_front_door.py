"""The front door as a whole: every way in is guarded, and a sample of the grammar that the benchmark draws from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import chipfit
from chipfit.cli import main
from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network
from chipfit.nets import faithful
from chipfit.nets.trace import trace

MINE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own with a model, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("net.py").write_text(MINE)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every relu is traced as another activation."""

    def swapped(module: nn.Module, shape: tuple[int, ...]) -> Network:
        network = trace(module, shape)
        ops = tuple(replace(o, kind="hard_swish") if o.kind == "relu" else o for o in network.graph)
        return Network(Graph(ops, network.graph.output), network.weights)

    monkeypatch.setattr(faithful, "trace", swapped)


WAYS_IN = (
    ["fit", "net.py:build", "--data", "digits", "--max", "macs=60%", "--no-train", "--out", "run"],
    ["check", "net.py:build", "--input-shape", "1,8,8", "--max", "macs=60%"],
    ["profile", "net.py:build", "--input-shape", "1,8,8"],
    ["profile", "zoo:fashion-mnist/lenet5"],
    ["predict", "measure", "net.py:build", "--input-shape", "1,8,8", "--out", "table.npz"],
)


@pytest.mark.parametrize("words", WAYS_IN, ids=" ".join)
def test_every_verb_refuses_what_is_traced_wrongly(
    wrong: None, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*words, "--device", "null", "-q"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "traced wrongly" in line
    assert "'hard_swish'" in line


@pytest.mark.parametrize("ask", [
    lambda m: chipfit.check(m, limits=["macs=60%"], device="null", input_shape=(1, 8, 8)),
    lambda m: chipfit.profile(m, device="null", input_shape=(1, 8, 8)),
    lambda m: chipfit.fit(m, data="digits", limits=["macs=60%"], device="null", train=False, out="run"),
])  # fmt: skip
def test_so_does_python_and_leaves_the_module_alone(wrong: None, ask: Callable[[nn.Module], object]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    module[1].eval()
    with pytest.raises(BadInput, match="'hard_swish'"):
        ask(module)
    assert [m.training for m in module.children()] == [True, False, True, True, True]


SAMPLE = (0, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 200, 260, 301)
"""Networks with one part of most kinds, and some of several parts."""


def test_networks_of_the_grammar_are_right_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("openvino")
    pytest.importorskip("ncnn")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from front_networks import Found, seen

    found = Found()
    for seed in SAMPLE:
        found.add(seen(seed, edits=1))
    assert not found.wrong
    assert not found.crashed
    assert found.files > 20
