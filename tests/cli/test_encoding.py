"""Whatever a terminal can write, results and errors arrive on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chipfit.cli.output import say

NETWORK = """
import torch
from torch import nn
def build():
    STATEMENT
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
"""


def ended(folder: Path, encoding: str, *more: str, statement: str = "pass") -> subprocess.CompletedProcess[bytes]:
    name = "größe☃.py"
    (folder / name).write_text(NETWORK.replace("STATEMENT", statement), encoding="utf-8")
    words = [
        "check", f"{name}:build", "--device", "null", "-q", "--input-shape", "1,8,8", "--max", "macs=60%", *more
    ]  # fmt: skip
    env = {**os.environ, "PYTHONIOENCODING": encoding, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "chipfit.cli", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
        timeout=100,
    )


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:surrogateescape"])
def test_tables_and_documents_on_a_terminal_with_few_signs(tmp_path: Path, encoding: str) -> None:
    table = ended(tmp_path, encoding)
    assert table.returncode == 0, table.stderr
    assert rb"\u2603-build" in table.stdout
    done = ended(tmp_path, encoding, "--json")
    assert list(json.loads(done.stdout.decode(encoding.partition(":")[0]))) == ["größe☃-build"]


@pytest.mark.long
def test_half_a_character_in_an_error_is_said(tmp_path: Path) -> None:
    done = ended(tmp_path, "utf-8:strict", "--json", statement="raise ValueError('\\udcff')")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].endswith("ValueError: \udcff (größe☃.py, line 5)")
    assert done.stderr.count(b"\n") == 1


def test_an_error_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    say("two\nlines \x1b[31m and a bell \x07, größe☃ \U0001f600")
    assert capsys.readouterr().err == "two lines \\x1b[31m and a bell \\x07, größe☃ \U0001f600\n"
