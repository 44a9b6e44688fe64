"""Benchmarks run in the environment that `make test` makes: each imports, and what they import is named by an extra."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chipfit.core.graph import Graph, Network
from chipfit.core.types import Measurement
from chipfit.evaluate.counts import priced_counts
from chipfit.nets.trace import trace
from chipfit.space.offer import offer
from recipes import small

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
UNNAMED_BY_IMPORT = {"torch.onnx": "onnxscript"}
"""Modules that ask for a package only when they are used."""


def modules(path: Path) -> set[str]:
    """Everything that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.onnx.export":
            found.add("torch.onnx")
    return found


def named() -> set[str]:
    """Distributions that the package needs or one of its extras names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    return {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda p: p.stem)
def test_what_a_benchmark_imports_is_named_by_an_extra(path: Path) -> None:
    own = {p.stem for p in BENCHMARKS} | {"chipfit"}
    providers = importlib.metadata.packages_distributions()
    for module in modules(path):
        top = module.partition(".")[0]
        if top not in own and top not in sys.stdlib_module_names:
            wanted = {p.lower().replace("_", "-") for p in providers.get(top, [top])}
            assert wanted & named(), f"{path.name} imports {module}; pyproject names none of {sorted(wanted)}"
        if module in UNNAMED_BY_IMPORT:
            assert UNNAMED_BY_IMPORT[module] in named()


def test_every_benchmark_imports() -> None:
    names = [p.stem for p in BENCHMARKS]
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\nimport {', '.join(names)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def cold_run(folder: Path, monkeypatch: pytest.MonkeyPatch, cut_off_after: int | None = None) -> tuple[Any, list[int]]:
    """A cold start whose networks are as good as they are large; what it says, and how many each round trained."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    cold = importlib.import_module("cold")
    graph = trace(small.residual().eval(), (1, 8, 8)).graph
    menu = priced_counts(graph, offer(graph, {32: 8, 8: 8}))
    trained: list[int] = []

    def train(bench: object, views: object, networks: dict[int, Network], seed: int) -> dict[int, float]:
        if len(trained) == cut_off_after:
            raise KeyboardInterrupt
        trained.append(len(networks))
        return {n: network.graph.total_macs / graph.total_macs for n, network in networks.items()}

    def timed(graphs: Sequence[Graph], fidelity: str) -> list[Measurement]:
        return [Measurement("latency_ms", g.total_macs / graph.total_macs, "counted") for g in graphs]

    seconds = iter(float(n) for n in range(1000))
    monkeypatch.setattr(cold, "_trained", train)
    monkeypatch.setattr(cold, "cpu_seconds", lambda: next(seconds))
    bench = SimpleNamespace(
        name="small", entries={"net": SimpleNamespace(network=SimpleNamespace(graph=graph))}, teacher=lambda _: None,
        rows=SimpleNamespace(path=folder / "rows.jsonl", full=False), timing=SimpleNamespace(graphs=timed),
    )  # fmt: skip
    ours = {"model": "net", "budget_ms": 0.8, "validation": 1.0, "cpu_s": 1.0}
    return cold.cold_start(bench, "net", ours, cap_s=6.0, menu=menu), trained


def test_a_cold_start_that_was_cut_off_goes_on_without_training_anything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, in_one_go = cold_run(tmp_path / "whole", monkeypatch)
    assert whole["cpu_s"] == 6.0
    assert not whole["reached"]
    with pytest.raises(KeyboardInterrupt):
        cold_run(tmp_path / "cut", monkeypatch, cut_off_after=2)
    taken_up, rest = cold_run(tmp_path / "cut", monkeypatch)
    assert rest
    assert rest == in_one_go[2:]
    assert taken_up["trained"] == whole["trained"] == sum(in_one_go)
    assert taken_up["best_validation"] == whole["best_validation"]
