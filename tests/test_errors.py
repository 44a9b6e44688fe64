"""What a user can do wrong ends in one line that names it, exit code 2, and nothing half-written."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import chipfit
from chipfit.cli import main
from onnx_files import write

MODEL = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head((x * torch.rand(1)).flatten(1))

def build(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )

def coloured():
    return build(3)

def few():
    return build()[:-1].append(nn.Linear(8, 3))

def odd():
    return Odd()
"""
DATA = """
import numpy as np

def loaders(label=1):
    rng = np.random.default_rng(0)
    def part(n, top):
        return [(rng.random((n, 1, 8, 8), np.float32), np.arange(n) % top)]
    return dict(train=part(20, 2), validation=part(20, 2 + label), test=part(20, 2))
"""
Fit = Callable[..., list[str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a model, data and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "mine.py").write_text(DATA)
    return tmp_path


def fit(*words: str, model: str = "net.py:build", data: str = "digits") -> list[str]:
    """A `chipfit fit` that would work, were it not for `words`."""
    given = {"--data": data, "--device": "null", "--max": "latency_ms=60%", "--time": "1m", "--out": "run"}
    missing = [w for option, value in given.items() if option not in words for w in (option, value)]
    return ["fit", model, *missing, *words]


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content."""
    files = [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def refused(words: list[str], capsys: pytest.CaptureFixture[str], *said: str, run: Path = Path("run")) -> None:
    """Runs a command line; it must end with 2 and one line that holds `said`, and leave the run as it was."""
    before = snapshot(run)
    code = main(words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert [s for s in said if s not in err] == [], err
    assert snapshot(run) == before


def pictures(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 12) -> Path:
    """A folder of class folders with small grey pictures."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for n in range(each):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / name / f"{n}.png")
    return folder


def test_a_missing_model_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(model="nosuch.py:build"), capsys, "'nosuch.py' does not exist")


def test_a_function_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(model="net.py:biuld"), capsys, "'biuld'", "did you mean 'build'?")


def test_an_operator_that_draws_random_numbers_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(model="net.py:odd"), capsys, "rand")


def test_weights_that_do_not_match_name_the_keys(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"0.weight": torch.zeros(8, 1, 3, 3), "stranger": torch.zeros(1)}, here / "w.pt")
    refused(fit("--weights", "w.pt"), capsys, "w.pt", "missing (0.bias, ", "unexpected (stranger)")


def test_nan_in_weights_names_the_tensor(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10),
    )  # fmt: skip
    state = net.state_dict()
    state["5.weight"][0, 0] = float("nan")
    torch.save(state, here / "w.pt")
    refused(fit("--weights", "w.pt"), capsys, "NaN", "'5.weight'")


def test_the_wrong_input_shape(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(model="net.py:coloured"), capsys, "wants 3 channels", "1x8x8")


def test_more_classes_than_outputs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(model="net.py:few"), capsys, "3 outputs", "10 classes")


def test_labels_out_of_range(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(data="mine.py:loaders"), capsys, "label 2 in validation is outside 0..1")


def test_an_empty_class_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures(here / "pets") / "fox").mkdir()
    refused(fit(data="pets"), capsys, "'fox' holds no pictures")


def test_a_broken_picture_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures(here / "pets") / "dog" / "7.png").write_bytes(b"no picture")
    refused(fit(data="pets"), capsys, "dog/7.png")


def test_data_that_are_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(fit(data="digit"), capsys, "data 'digit' is unknown", "did you mean 'digits'?")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max", "latncy_ms=5"], ["metric 'latncy_ms' is unknown", "did you mean 'latency_ms'?"]),
        (["--max", "latency_ms=-5"], ["'latency_ms=-5' is not above zero"]),
        (["--max", "latency_ms=five"], ["'latency_ms=five' is not a number"]),
        (["--max", "latency_ms"], ["'latency_ms' has no value"]),
        (["--max", "accuracy=0.9"], ["more is better", "--min accuracy=0.9"]),
        (["--max", "latency_ms=5", "--max", "latency_ms=3"], ["limits latency_ms twice"]),
        (["--min", "accuracy=90"], ["beyond all answers right"]),
        (["--budgets", "40%,20%"], ["limited by --max and by --budgets"]),
        (["--minimize", "latency_ms"], ["give --min accuracy=0.9 too"]),
        (["--device", "nul"], ["device 'nul' is unknown", "did you mean 'null'?"]),
        (["--time", "10 minutes"], ["time '10 minutes' is not a duration", "10m"]),
        (["--time", "0s"], ["not above zero"]),
        (["--epochs", "0"], ["--epochs 0 is not above zero"]),
        (["--bits", "4"], ["--bits 4 is not possible"]),
        (["--seed", "one"], ["--seed 'one' is not a whole number"]),
        (["--starts", "0"], ["--starts 0 is too small"]),
        (["--input-shape", "1,8,8,8,8"], ["--input-shape 1,8,8,8,8 is not a shape"]),
        (["--input-shape", "1,28,28"], ["1x28x28"]),
        (["--resize", "big"], ["--resize 'big' is not a size"]),
        (["--normalize", "0.5"], ["--normalize '0.5' is not a mean and a deviation"]),
        (["--keep", "layer9"], ["--keep layer9", "no layer has this name"]),
        (["--latency", "5"], ["unknown option: --latency"]),
    ],
)
def test_options_that_cannot_be_used(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    refused(fit(*words), capsys, *said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (fit(model="net.onnx"), ["net.onnx is not a whole ONNX file"]),
        (fit(model="none.onnx"), ["none.onnx cannot be read: No such file"]),
        (fit(model="m.onnx"), ["m.onnx has no convolution and no dense layer; there is nothing in it to fit"]),
        (["profile", "net.onnx", "--device", "null"], ["net.onnx is not a whole ONNX file"]),
        (["profile", "none.onnx", "--device", "null"], ["none.onnx cannot be read: No such file"]),
        (["check", "net.onnx", "--device", "null"], ["no limit was given"]),
        (
            ["check", "m.onnx", "--device", "null", "--max", "latency_ms=5", "--keep", "a"],
            ["leave --weights and --keep"],
        ),
    ],
)
def test_files_that_cannot_be_used(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    (here / "net.onnx").write_bytes(b"no model")
    write(here / "m.onnx", "g (float[1, 4] x) => (float[1, 4] a) { a = Relu (x) }")
    refused(words, capsys, *said)


def test_no_budget_at_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["fit", "net.py:build", "--data", "digits", "--out", "run"], capsys, "no budget was given")


def test_no_model_at_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["fit", "--data", "digits", "--max", "latency_ms=5", "--out", "run"], capsys, "no model was named")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max: [latency_ms=5\ntime: 10m\n", ["'chipfit.yaml' is not YAML at line 2"]),
        ("- a\n- b\n", ["holds a list, not options"]),
        ("modles: net.py:build\n", ["option 'modles' is unknown", "did you mean 'models'?"]),
        ("seed: first\n", ["--seed 'first' is not a whole number"]),
        ("max: {latency: 5}\n", ["metric 'latency' is unknown", "did you mean 'latency_ms'?"]),
    ],
)
def test_a_bad_file_of_options(here: Path, capsys: pytest.CaptureFixture[str], text: str, said: list[str]) -> None:
    (here / "chipfit.yaml").write_text(text)
    refused(["fit", "--out", "run"], capsys, *said)


def test_a_directory_that_holds_something_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run").mkdir()
    (here / "run" / "thesis.tex").write_text("years of work")
    refused(fit(), capsys, "'thesis.tex'", "--out")


@pytest.mark.parametrize("words", [["resume", "run"], ["report", "run"], ["compare", "run", "run"], ["export", "run"]])
def test_verbs_on_a_directory_that_is_no_run(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    refused(words, capsys, "run", "is not a run directory")
    assert not (here / "run").exists()


def test_a_verb_that_does_not_exist(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["fitt", "net.py:build"], capsys, 'unknown command "fitt"', 'did you mean "fit"?')


def test_a_file_of_options_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "chipfit.yaml").write_text("time: 1m\n")
    refused(["init"], capsys, "'chipfit.yaml' exists")
    assert (here / "chipfit.yaml").read_text() == "time: 1m\n"


@pytest.mark.parametrize("words", [["fit", "net.py:odd"], ["check", "net.py:build", "--device", "nul"]])
def test_a_real_process_says_one_line_too(here: Path, words: list[str]) -> None:
    source = str(Path(chipfit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "chipfit.cli", *words, "--data", "digits", "--max", "latency_ms=5", "--out", "run"]
        if words[0] == "fit"
        else [sys.executable, "-m", "chipfit.cli", *words, "--max", "latency_ms=5"],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert not (here / "run").exists()
