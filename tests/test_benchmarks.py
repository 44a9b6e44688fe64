"""Benchmarks run in the environment that `make test` makes: each imports, and what they import is named by an extra."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
    """Distributions that the package needs or its developers' extra names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
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
