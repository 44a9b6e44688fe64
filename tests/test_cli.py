"""The command line: words to configurations, results to tables or JSON, ways of ending to exit codes."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

import chipfit
from chipfit.api import config_file, doctor, inputs, runs
from chipfit.api.config import Config
from chipfit.cli import main
from chipfit.cli.options import Common, Effort, Freedom, Limits, Networks, configured
from chipfit.core.errors import BadInput
from chipfit.data import fashion_mnist
from chipfit.device.null import Null
from chipfit.nets.zoo import manifest
from onnx_files import write

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )
    net[-1].weight.data *= 50  # untrained, but sure of its answers: narrowing it does harm
    return net
"""
FIT = [
    "fit", "net.py:build", "--data", "digits", "--device", "null", "--no-train", "--no-baselines", "--bits", "32",
    "--time", "1m", "--out", "run",
]  # fmt: skip
TWO = ["--budgets", "80%,60%"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a model and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("net.py").write_text(NET)
    return tmp_path


@dataclass(frozen=True)
class Finished:
    """One real run, without training, on the device that counts: stopped in the middle, then gone on with."""

    folder: Path
    stopped: tuple[int, str, str]
    ended: tuple[int, str, str]


def told(words: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder, whole = tmp_path_factory.mktemp("finished"), runs.recipe.fit

    def until_the_solver(*arguments: Any) -> Any:
        def stop(phase: str, detail: str) -> None:
            if phase == "assign":
                raise KeyboardInterrupt

        return whole(*arguments[:-3], stop, *arguments[-2:])  # progress, then where profiles and programs are kept

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        Path("net.py").write_text(NET)
        with patch.context() as inner:
            inner.setattr(runs.recipe, "fit", until_the_solver)
            stopped = told([*FIT, *TWO, "-q"])
        return Finished(folder, stopped, told([*FIT, *TWO]))


@pytest.fixture
def run(finished: Finished, here: Path) -> Path:
    """A copy of that run in this test's folder."""
    shutil.copytree(finished.folder / "run", here / "run")
    shutil.copytree(finished.folder / "cache", here / "cache", dirs_exist_ok=True)
    return Path("run")


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The one JSON document that a command prints."""
    assert main([*words, "--json", "-q"]) == code
    out, _ = capsys.readouterr()
    return json.loads(out)


# Words


def test_every_option_can_be_said_on_the_command_line() -> None:
    flags = {f.name for group in (Networks, Limits, Freedom, Effort) for f in fields(group)}
    said = {name.removeprefix("no_") for name in flags} | {"models", "seed"}
    assert said == set(Config.model_fields)
    assert {f.name for f in fields(Common)} == {"json", "quiet", "verbose", "seed"}


def test_the_command_line_comes_before_the_file() -> None:
    Path("chipfit.yaml").write_text("models: net.py:build\nmax: {latency_ms: 5}\ntime: 3m\nseed: 4\nbits: 32\n")
    config = configured((), None, Limits(max=("latency_ms=2",)), Effort(no_train=True), Common(seed=7))
    assert (config.models, config.max, config.time) == (("net.py:build",), ("latency_ms=2",), "3m")
    assert (config.seed, config.train, config.bits, config.baselines) == (7, False, (32,), True)


def test_an_option_and_the_flag_against_it_are_refused() -> None:
    with pytest.raises(BadInput, match="--programs known and --no-programs contradict each other"):
        configured(("net.py:build",), None, Freedom(programs="known", no_programs=True))
    assert configured(("net.py:build",), None, Freedom(programs="none", no_programs=True)).programs == "none"


def test_the_file_of_this_folder_is_read_only_without_a_model() -> None:
    Path("chipfit.yaml").write_text("models: net.py:build\nseed: 4\n")
    assert configured(("other.py:build",), None).seed == 0
    assert configured(("other.py:build",), Path("chipfit.yaml")).models == ("other.py:build",)


def test_init_writes_a_file_that_fit_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "init", "mine.yaml") == {"file": "mine.yaml"}
    assert Config.of(config_file.read(Path("mine.yaml"))).models == ("zoo:fashion-mnist",)


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert set(json.loads(capsys.readouterr().out)["properties"]) == set(Config.model_fields)


# What is here


def test_devices_are_listed_with_their_formats(capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "devices")
    assert {"onnxruntime": "onnx", "null": "onnx"}.items() <= {r["name"]: r["format"] for r in rows}.items()


def test_the_zoo_is_that_of_the_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert [r["name"] for r in answer(capsys, "zoo")] == [r.name for r in manifest()]


def test_doctor_says_how_to_get_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "find", lambda: None)
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "onnxxruntime"))
    monkeypatch.setattr(inputs, "open_device", lambda name, write: Null())
    found = {f["what"]: f for f in answer(capsys, "doctor", code=1)}
    assert (found["onnxxruntime"]["well"], found["onnxxruntime"]["remedy"]) == (False, "pip install onnxxruntime")
    assert found["fashion-mnist"]["remedy"] == "apt-get install dataset-fashion-mnist"
    assert found["numpy"]["well"]
    assert "± 0.0 %" in found["timing"]["found"]


# Answers in seconds


def test_profile_names_the_slowest_operators_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "profile", "net.py:build", "--device", "null", "--input-shape", "1,8,8")["net-build"]
    times = [r["ms"] for r in found["rows"]]
    assert found["macs"] == 64 * (9 * 32 + 32 * 9 * 64) + 640
    assert times == sorted(times, reverse=True)
    assert main(["profile", "net.py:build", "--device", "null", "--input-shape", "1,8,8"]) == 0
    assert "M MACs" in capsys.readouterr().out


def test_check_tells_what_can_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["check", "net.py:build", "--device", "null", "--input-shape", "1,8,8"]
    easy = answer(capsys, *model, "--max", "latency_ms=90%")["net-build"]
    assert easy["feasible"]
    assert easy["predicted"]["latency_ms"] <= 0.9 * easy["reference"]["latency_ms"]
    assert easy["suggestion"]
    hard = answer(capsys, *model, "--max", "latency_ms=1%", code=3)["net-build"]
    assert not hard["feasible"]
    assert 0 < hard["reachable"]["latency_ms"] < hard["reference"]["latency_ms"]


BLOCK = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.a, self.b = nn.Conv2d(16, 24, 3, 2, 1), nn.Conv2d(24, 24, 3, padding=1)
        self.shortcut, self.head = nn.Conv2d(16, 24, 1, 2), nn.Linear(24, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.b(self.a(self.norm(x).relu()).relu()) + self.shortcut(x)
        return self.head(y.relu().mean((2, 3)))

def build():
    return Block()
"""


def test_check_of_a_block_that_reads_its_raw_input(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    """The conversion behind its first relu is on two precisions, a width and the block."""
    (here / "block.py").write_text(BLOCK)
    words = ["check", "block.py:build", "--device", "null", "--input-shape", "3,16,16", "--max", "latency_ms=70%"]
    found = answer(capsys, *words)["block-build"]
    assert found["feasible"]
    assert main([*words, "-q"]) == 0
    assert "block-build" in capsys.readouterr().out


MLP = "mlp (float[n, 64] x) => (float[n, 64] y) <float[64, 64] w> { a = MatMul (x, w) y = Relu (a) }"


def test_a_file_is_profiled_beside_a_model(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write(here / "m.onnx", MLP)
    found = answer(capsys, "profile", "net.py:build", "m.onnx", "--device", "null", "--input-shape", "1,8,8", code=2)
    assert "m.onnx: input 'x' is (n, 64), which --input-shape 1,8,8 does not fit" in found["error"]
    found = answer(capsys, "profile", "zoo:fashion-mnist/lenet5", "m.onnx", "--device", "null")
    assert list(found) == ["lenet5", "m.onnx"]
    assert (found["m.onnx"]["macs"], found["m.onnx"]["params"]) == (64**2, 64**2)
    assert [r["kind"] for r in found["m.onnx"]["rows"]] == ["MatMul", "Relu"]


def test_a_file_is_checked_as_it_is_and_in_int8(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write(here / "m.onnx", MLP)
    words = ["check", "m.onnx", "--device", "null", "--input-shape", "5,64"]
    found = answer(capsys, *words, "--max", "size_mb=60%")["m.onnx"]
    assert [(v["bits"], v["holds"]) for v in found["versions"]] == [(32, False), (8, True)]
    assert found["versions"][0]["values"]["macs"] == 5 * 64**2
    answer(capsys, *words, "--max", "size_mb=1%", code=3)
    assert main([*words, "--max", "size_mb=60%", "-q"]) == 0
    out = capsys.readouterr().out
    assert "m.onnx: int8 is not faster, 1.00 ± 0.00 times as fast" in out, "the device that counts knows no int8 file"
    assert "its accuracy is not known" in out


def test_check_says_what_shares_are_of_with_int8_beside_float(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "net.py:build", "--device", "null", "--input-shape", "1,8,8", "--max", "latency_ms=80%", "-q"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert re.search(r"latency_ms <= 0\.\d+ is 80 % of net-build int8, 0\.\d+ ms \(fp32 0\.\d+ ms\)", out)
    assert "fp32" in out.splitlines()[0]
    assert "all int8" in out.splitlines()[0]


def test_a_file_that_cannot_be_timed_is_not_called_infeasible(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here / "m.onnx", MLP)
    honest = Null.measure

    def fail(self: Null, artifacts: Any, fidelity: Any) -> Any:
        found = honest(self, artifacts, fidelity)
        return [replace(m, value=math.nan, protocol="failed: it crashed") for m in found]

    monkeypatch.setattr(Null, "measure", fail)
    words = ["check", "m.onnx", "--device", "null", "--input-shape", "5,64", "--max", "latency_ms=5", "-q"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "not timed: it crashed" in out
    assert err == "error: m.onnx could not be timed, so no limit can be judged; why stands above\n"


def test_python_takes_the_path_of_a_file(here: Path) -> None:
    path = Path(write(here / "m.onnx", MLP))
    assert chipfit.profile(path, device="null")[str(path)].macs == 64**2
    checked = chipfit.check(path, limits={"latency_ms": "100%"}, device="null", bits=(32,))
    assert checked[str(path)].feasible


# Runs


def test_ctrl_c_says_how_to_go_on(finished: Finished) -> None:
    assert finished.stopped == (130, "", "stopped; what was done is kept: chipfit resume run\n")


def test_the_same_command_goes_on_and_shows_what_was_made_for_each_budget(finished: Finished) -> None:
    code, out, err = finished.ended
    assert code == 0
    assert out.count("best unmodified") == out.count("ours") == 2
    assert "run/best/model.onnx" in out
    assert "run/report.html" in out
    assert re.fullmatch(r"(\[ *\d+ s\] \w+: .*\n)+", err)
    assert "assign: " in err


@pytest.mark.long
def test_a_run_that_was_killed_ends_in_the_same_choice(finished: Finished, here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(chipfit.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "chipfit.cli", *FIT, *TWO], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "assign: " in line:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert told([*FIT, *TWO, "-q"])[0] == 0
    mine, other = chipfit.open_run("run"), chipfit.open_run(finished.folder / "run")
    assert [(m.key, m.test_accuracy, m.latency_ms) for m in mine.finals] == [
        (m.key, m.test_accuracy, m.latency_ms) for m in other.finals
    ]


def test_the_same_command_on_a_finished_run_only_shows_it(
    run: Path, finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FIT, *TWO]) == 0
    out, err = capsys.readouterr()
    assert out == finished.ended[1]
    assert re.fullmatch(r"\[ +\d+ s\] read: \S+ has this run, which had ended: nothing was run\n", err)


def test_fit_as_json_is_what_the_run_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, *FIT, *TWO)
    assert found["finished"]
    assert [m["budget"] for m in found["finals"]] == found["budgets"]
    reference = next(m for m in found["models"] if m["role"] == "zoo")
    for share, m in zip((0.8, 0.6), found["finals"], strict=True):
        assert m["latency_ms"] <= share * reference["latency_ms"]
        assert m["meets_budget"]
    assert found["best"] == found["finals"][0]


def test_other_options_on_a_run_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "config.yaml").read_bytes()
    assert main([*FIT, *TWO, "--seed", "1"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "started with seed=0, now seed=1" in err
    assert (run / "config.yaml").read_bytes() == before


def test_an_impossible_budget_ends_with_three_and_the_nearest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["resume", "run", "--max", "latency_ms=0.1%"]
    found = answer(capsys, *words, code=3)
    assert found["exit_code"] == 3
    assert found["nearest"]["latency_ms"] > 0
    assert main([*words, "-q"]) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{found['nearest']['latency_ms']:.4g}" in err


def test_resume_with_a_tighter_budget(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = answer(capsys, "resume", "run")
    after = answer(capsys, "resume", "run", "--max", "latency_ms=70%")
    assert len(after["budgets"]) == 1
    reference = next(m for m in after["models"] if m["role"] == "zoo")
    assert after["best"]["latency_ms"] <= 0.7 * reference["latency_ms"]
    held = [m for m in before["finals"] if m["latency_ms"] <= 0.7 * reference["latency_ms"]]
    assert held, "the budget of 60 % is within that of 70 %"
    assert all(after["best"]["accuracy"] >= m["accuracy"] for m in held)
    assert main(["resume", "run", "--max", "latency_ms=70%"]) == 0


def test_our_own_mistakes_are_one_line_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(runs, "run", lambda *a, **k: broken())
    words = [*FIT, *TWO, "-q"]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        "error: internal: ZeroDivisionError: division by zero; run it again with -v for the traceback, and report "
        "it with that\n"
    )
    assert main([*words, "-v"]) == 1
    assert "in broken" in capsys.readouterr().err


def test_report_is_written_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "report.html").unlink()
    assert answer(capsys, "report", "run") == {"report": "run/report.html"}
    assert (run / "report.html").stat().st_size > 100_000


def test_the_console_tells_what_shares_are_of_and_names_origins(finished: Finished) -> None:
    out = finished.ended[1]
    assert "As they came, and in int8 throughout" in out
    assert out.count("% of net-build, 0.0") == 2, "the run has no int8: shares are of the model as it came"


def test_export_and_its_verification(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = answer(capsys, "report", "run") and answer(capsys, "resume", "run")["finals"][1]
    done = answer(capsys, "export", "run", "--candidate", second["key"], "--to", "onnx", "--out", "m.onnx", "--verify")
    assert Path("m.onnx").read_bytes() == (run / "blobs" / second["blob"]).read_bytes()
    assert done["verified"]["agreement"] == 1.0
    assert main(["export", "run", "--candidate", "nobody"]) == 2
    assert "has no candidate 'nobody'" in capsys.readouterr().err


def test_compare_names_what_differs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("run", "other")
    assert main(["resume", "other", "--max", "latency_ms=55%", "-q"]) == 0
    capsys.readouterr()
    found = answer(capsys, "compare", "run", "other")
    latency = next(n for n in found["numbers"] if n["what"] == "latency_ms")
    assert latency["difference"] < 0
    assert found["layers"]
    assert main(["compare", "run", "other"]) == 0
    assert "decision" in capsys.readouterr().out
