"""`import chipfit` and the command line's help are quick: they load no framework. The public names are pinned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chipfit

HEAVY = ("torch", "onnx", "onnxruntime", "scipy", "sklearn", "plotly")
SOURCE = str(Path(chipfit.__file__).parents[1])


def loaded_by(code: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after running `code`."""
    program = f"import sys\n{code}\nprint('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    return done.stdout.rsplit("loaded:", 1)[1].split()


def test_the_public_names_are_these() -> None:
    assert sorted(chipfit.__all__) == [
        "BadInput", "ChipfitError", "Dataset", "Infeasible", "Limit", "Measurement", "Model", "Result", "Split",
        "Trial", "check", "compare", "export_run", "fit", "fit_each", "load_data", "open_run", "profile", "resume",
    ]  # fmt: skip


@pytest.mark.parametrize("name", chipfit.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(chipfit, name).__doc__


def test_no_public_name_hides_a_package() -> None:
    packages = {p.stem for p in Path(chipfit.__file__).parent.iterdir() if not p.name.startswith("_")}
    assert not packages & set(chipfit.__all__)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'; it has .*fit"):
        _ = chipfit.fitt  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import chipfit; chipfit.BadInput; chipfit.Limit.parse('latency_ms=5')") == []


@pytest.mark.parametrize(
    "words", [["--help"], ["fit", "--help"], ["fit", "--tyme", "3"], ["fit", "x", "--max", "latncy=3"]]
)
def test_help_and_usage_errors_load_nothing_heavy(words: list[str]) -> None:
    assert loaded_by(f"from chipfit.cli import main\nmain({words!r})") == []
