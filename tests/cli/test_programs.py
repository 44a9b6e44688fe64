"""The verbs about operator programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chipfit.cli import main
from chipfit.device import cache
from chipfit.space.program import parse
from chipfit.space.program.canonical import structural_hash
from chipfit.space.program.seeds import SEEDS
from chipfit.store.programs import FILE, ProgramLibrary, Use

TEXT = "dwconv(x, KxK); norm(_); pwconv(_, M)"
NAME = structural_hash(parse(TEXT))
USE = Use(NAME, TEXT, "conv 3x3 16x32x32 -> 16x32x32, float32", "cpu-1", "onnxruntime, 1 thread", 2.5, 0.0125)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def kept() -> None:
    with ProgramLibrary(cache.usable_folder() / FILE) as library:
        library.keep(USE)


def test_speed_up_and_damage_are_those_of_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgramLibrary(cache.usable_folder() / FILE) as library:
        library.keep(USE)
        library.keep(replace(USE, place="conv 3x3 9x8x8 -> 9x8x8, float32", on="ncnn", speedup=2.0, damage=0.5))
    assert main(["programs", "list"]) == 0
    head, row = [line for line in capsys.readouterr().out.splitlines() if "program" in line or TEXT in line]
    assert head.split("program")[1].split("  ")[-2:] == ["damage there", "places "]
    assert row.split(TEXT)[1].split() == ["onnxruntime,", "1", "thread", "2.50", "0.0125", "2"]


def test_what_ships_and_what_was_found_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    kept()
    assert main(["programs", "list"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "(x" in line]
    assert rows[0].startswith(f" {NAME[:8]}  {TEXT}")
    assert "onnxruntime, 1 thread" in rows[0]
    assert "2.50" in rows[0]
    assert any("pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)" in row for row in rows)
    assert main(["programs", "list", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain[0]["program"] == NAME
    assert plain[0]["uses"][0]["speedup"] == 2.5
    assert all(row["uses"] == [] for row in plain[1:])


def test_a_program_is_shown_as_formulas_with_where_it_was_good(capsys: pytest.CaptureFixture[str]) -> None:
    kept()
    assert main(["programs", "show", NAME[:6], "--at", "16,32,32,32,3"]) == 0
    out = capsys.readouterr().out
    assert "at conv 3x3 16x32x32 -> 32x32x32, float32: 14.2 % of its MACs" in out
    assert "v1 = dwconv(x, KxK)" in out
    assert "y = pwconv(v2, M)" in out
    assert "onnxruntime, 1 thread" in out


def test_a_program_is_shown_by_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["programs", "show", "linear(x, M/4); linear(_, M)", "--at", "64,64", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [line["macs"] for line in plain["lines"]] == [64 * 16, 16 * 64]
    assert plain["share_of_macs"] == 0.5
    shipped = structural_hash(parse("dwconv(x, KxK); pwconv(_, M)"))
    assert main(["programs", "show", shipped[:8]]) == 0
    assert "y = pwconv(v1, M)" in capsys.readouterr().out


def test_every_program_that_is_listed_is_shown_without_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    for program in SEEDS:
        assert main(["programs", "show", program.text, "--json"]) == 0
        at = json.loads(capsys.readouterr().out)["at"]
        assert at.startswith("linear 192 -> 768" if "linear(" in program.text else "conv 3x3 64x56x56")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "PROGRAM"),
        (["warp(x)"], "no opcode 'warp'"),
        (["ffff0000"], "no program 'ffff0000'"),
        (["pwconv(x, M)", "--at", "64"], "--at '64' is no layer; give C,H,W,M,K"),
        (["pwconv(x, M)", "--at", "8,9,9,8,2"], "has a kernel of 2; give an odd one"),
        (["relu(x)"], "give another layer with --at"),
    ],
)
def test_what_cannot_be_shown_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    if words == ["relu(x)"]:
        words = ["relu(x)", "--at", "8,9,9,16,3"]
    assert main(["programs", "show", *words]) == 2
    assert said in capsys.readouterr().err
