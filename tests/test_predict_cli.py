"""`chipfit predict` and devices that are predicted, from the command line to the report."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chipfit.cli import main
from chipfit.evaluate.latency.tables import read_table, write_table
from test_cli import NET

N, FEW = 24, 12


def said(*words: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "-q"])
    return code, out.getvalue(), err.getvalue()


def told(*words: str) -> Any:
    """The JSON of a command line that succeeds."""
    code, out, err = said(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def wrong(*words: str) -> str:
    """The one line of a command line with wrong input."""
    code, _, err = said(*words)
    assert code == 2, err
    assert len(err.splitlines()) == 1
    return err.removeprefix("error: ").strip()


MODEL = ["net.py:build", "--input-shape", "1,8,8"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a table of two devices that were made up, and samples of a third."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        Path("net.py").write_text(NET)
        found = told("predict", "measure", *MODEL, "--device", "null", "--n", str(N), "--out", "null.npz")
        assert found["timed"] == {"null": N}
        null = read_table("null.npz")
        ms = null.values[:, 0]
        others = np.column_stack([2 * ms**0.8, 3 * ms + 0.05])
        write_table(Path("t.npz"), replace(null, devices=("phone", "board"), values=others))
        told("predict", "measure", "--tables", "t.npz", "--device", "null", "--n", str(FEW), "--out", "few.csv")
    return folder


@pytest.fixture(autouse=True)
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder's files in an empty one, with a cache and data of its own."""
    for place in made.iterdir():
        if place.is_file():
            (tmp_path / place.name).write_bytes(place.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


FIT = ["predict", "fit", "--tables", "t.npz", "--device-timings", "few.csv", "--name", "mine"]


@pytest.mark.long
def test_from_timings_to_a_file_that_was_measured_at_last(here: Path) -> None:
    fitted = told(*FIT)
    assert fitted["samples"] == FEW
    assert fitted["left_out_error"] < 0.1
    assert {s["device"] for s in fitted["sources"]} == {"phone", "board"}
    assert Path(fitted["path"]) == here / "data" / "chipfit" / "predictors" / "mine.npz"
    assert "predicted:mine" in said("devices")[1]

    (net,) = told("predict", "run", "mine", *MODEL)["networks"]
    assert net["low"] < net["value"] < net["high"]
    assert len(told("predict", "run", "mine", "--networks", "t.npz")["networks"]) == N

    device = ["--device", "predicted:mine"]
    code, out, _ = said("profile", *MODEL, *device)
    assert code == 0
    assert "predicted as a whole, with a 90 % interval" in out
    code, out, _ = said("check", *MODEL, *device, "--max", "latency_ms=80%", "--bits", "32")
    assert code == 0
    assert "whose upper ends budgets are held against" in out

    fit = ["fit", "net.py:build", "--data", "digits", *device, "--no-train", "--no-baselines", "--bits", "32"]
    code, out, err = said(*fit, "--time", "1m", "--max", "latency_ms=85%", "--out", "run")
    assert code == 0, err
    assert "no file was measured there" in out
    result = told(*fit, "--time", "1m", "--max", "latency_ms=85%", "--out", "run")
    best = result["best"]
    assert best["provenance"] == "predicted"
    assert best["meets_budget"]
    low, high = best["interval_ms"]
    limit_ms = float(best["budget"].split()[-1])
    assert low < best["latency_ms"] < high <= 1.001 * limit_ms
    card = Path("run/model_card.md").read_text()
    assert re.search(r"latency, ms \|.*\(predicted, .* to .*\) \|", card)
    assert "not measured on the device" in card

    Path("real.csv").write_text(f"name,latency_ms\n{best['key']},{1.5 * limit_ms}\n")
    (checked,) = told("predict", "check", "run", "--timings", "real.csv")
    assert not checked["inside"]
    assert not checked["holds"]
    assert checked["predicted_ms"] == best["latency_ms"]
    assert re.search(r"latency, ms \|.*\(measured\) \|", Path("run/model_card.md").read_text())
    final = next(m for m in told(*fit, "--time", "1m", "--max", "latency_ms=85%", "--out", "run")["finals"])
    assert (final["provenance"], final["predicted_ms"]) == ("measured", best["latency_ms"])


def test_a_predictor_in_a_file_of_the_users_own() -> None:
    told(*FIT, "--out", "p.npz")
    assert told("predict", "run", "p.npz", *MODEL)["metric"] == "latency_ms"
    assert said("check", *MODEL, "--device", "predicted:p.npz", "--max", "latency_ms=90%", "--bits", "32")[0] == 0


def test_samples_alone_will_do() -> None:
    told("predict", "measure", *MODEL, "--device", "null", "--n", str(FEW), "--out", "few.npz")
    found = told("predict", "fit", "--device-timings", "few.npz", "--name", "alone")
    assert found["sources"] == []
    assert found["samples"] == FEW


def test_rows_that_a_kill_left_are_gone_on_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half the lines of the file, and a cache that knows nothing: the other half is measured, the first stays."""
    lines = Path("few.csv").read_text().splitlines()
    half = [lines[0], *(f"{line.split(',')[0]},7.5" for line in lines[1:5])]
    Path("few.csv").write_text("\n".join(half) + "\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    told("predict", "measure", "--tables", "t.npz", "--device", "null", "--n", str(FEW), "--out", "few.csv")
    now = Path("few.csv").read_text().splitlines()
    assert len(now) == FEW + 1
    assert [line for line in now if line.endswith(",7.5")] == half[1:]
    assert sorted(line.split(",")[0] for line in now) == sorted(line.split(",")[0] for line in lines)


def test_files_for_a_device_that_cannot_be_reached() -> None:
    found = told("predict", "measure", *MODEL, "--n", "6", "--export-to", "files", "--format", "onnx", "--bits", "32")
    names = found["networks"]
    assert sorted(p.stem for p in Path("files").glob("*.onnx")) == sorted(names)
    assert Path("files/timings.csv").read_text().splitlines() == ["name,latency_ms", *(f"{n}," for n in names)]
    Path("files/timings.csv").write_text("name,latency_ms\n" + "".join(f"{n},{k + 1}\n" for k, n in enumerate(names)))
    fit = ["predict", "fit", "--tables", "files/networks.npz", "--device-timings", "files/timings.csv", "--name", "far"]
    assert told(*fit)["samples"] == 6


MEASURE = ["predict", "measure"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*MEASURE, "--tables", "t.npz"], "say where the timings go: --out samples.csv"),
        ([*MEASURE, "--tables", "t.npz", "--out", "few.txt"], "ends neither in .csv nor in .npz"),
        ([*MEASURE, *MODEL, "--out", "few.csv"], "give FILE.npz"),
        ([*MEASURE, "--out", "f.npz", "--device", "null"], "name the networks to time"),
        ([*MEASURE, "--tables", "t.npz", "--n", "99", "--out", "f.csv", "--device", "null"], "the tables hold 24"),
        ([*MEASURE, "--tables", "no.npz", "--out", "f.csv", "--device", "null"], "'no.npz' does not exist"),
        ([*MEASURE, "--tables", "t.npz", "--n", "5", "--out", "few.csv", "--device", "null"], "holds other networks"),
        ([*MEASURE, "--tables", "t.npz", "--out", "f.csv", "--device", "nul"], "did you mean 'null'?"),
        ([*MEASURE, "--tables", "t.npz", "--out", "f.csv", "--device", "predicted:x"], "is predicted itself"),
        ([*MEASURE, *MODEL, "--export-to", "f", "--device", "null"], "leave --device and --out away"),
        ([*MEASURE, *MODEL, "--export-to", "f", "--format", "onyx"], "did you mean 'onnx'?"),
        ([*FIT[:4], "--device-timings", "no.csv", "--name", "x"], "samples 'no.csv' cannot be read"),
        ([*FIT[:-1], "a/b"], "cannot name a predictor"),
        ([*FIT, "--without", "phon"], "no such device; did you mean 'phone'?"),
        ([*FIT, "--out", "p.json"], "does not end in .npz"),
        (["predict", "fit", "--device-timings", "few.csv", "--name", "x"], "does not hold its networks"),
        (["predict", "fit", "--tables", "null.npz", "--device-timings", "few.csv", "--name", "x"], "--without null"),
        (["predict", "run", "mine", *MODEL], "no predictor 'mine' is kept here; there are: none; make it with"),
        (["predict", "run", "t.npz", *MODEL], "is no predictor; make one with chipfit predict fit"),
        (["check", *MODEL, "--max", "latency_ms=1", "--device", "predicted:mine"], "no predictor 'mine'"),
        (["predict", "check", "none", "--timings", "few.csv"], "is not a run directory"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(words: list[str], line: str) -> None:
    assert line in wrong(*words)


def test_samples_in_another_unit_are_asked_about() -> None:
    lines = [line.split(",") for line in Path("few.csv").read_text().splitlines()]
    micro = [f"{name},{float(ms) * 1000}" for name, ms in lines[1:]]
    Path("few.csv").write_text("\n".join(["name,latency_ms", *micro]) + "\n")
    assert "times above those of every device of the tables" in wrong(*FIT)
    assert told(*FIT, "--as-written")["samples"] == FEW


def test_devices_are_split_into_two_sides() -> None:
    whole = read_table("t.npz")
    a, b = whole.values.T
    four = np.column_stack([a, 1.1 * a + 0.001 * b, 1 / a, 1.2 / a + 0.001 * b])
    write_table(Path("four.npz"), replace(whole, devices=("a", "b", "c", "d"), values=four))
    found = told("predict", "split", "--tables", "four.npz")
    assert sorted(map(sorted, found.values())) == [["a", "b"], ["c", "d"]]
    one = told("predict", "split", "--tables", "four.npz", "--targets", "1")
    assert [len(one["sources"]), len(one["targets"])] == [3, 1]
    assert "cannot be had of 4 devices" in wrong("predict", "split", "--tables", "four.npz", "--sources", "9")
