"""Every option, given wrongly: one line with the value and what is allowed, exit code 2, and nothing begun.

The same table goes through the command line, a file of options and Python, for they share one reader.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import chipfit
from chipfit.api import runs
from chipfit.cli import main
from chipfit.core.errors import BadInput

LONG = "a" * 300
FIT: dict[str, Any] = {"models": "net.py:build", "data": "digits", "device": "null", "max": "latency_ms=60%"}

OPTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"max": ""}, ("--max ''", "latency_ms=60%")),
    ({"max": ","}, ("--max ','", "latency_ms=60%")),
    ({"max": "latency_ms="}, ("'latency_ms='", "latency_ms=5")),
    ({"max": "=5"}, ("metric ''", "latency_ms")),
    ({"max": "latency_ms=5ms"}, ("'latency_ms=5ms'", "without a unit")),
    ({"max": "latency_ms=inf"}, ("is not a number",)),
    ({"max": "latency_ms=nan"}, ("is not a number",)),
    ({"max": "latency_ms=1e400"}, ("is not a number",)),
    ({"max": "latency_ms=1e300"}, ("'latency_ms=1e300'", "beyond 1e+15")),
    ({"max": "latency_ms=0"}, ("is not above zero",)),
    ({"max": "latency_ms=0%"}, ("is not above zero",)),
    ({"max": "latency_ms=-3"}, ("is not above zero",)),
    ({"max": "latency_ms=%"}, ("is not a number",)),
    ({"max": "latency_ms=5%%"}, ("is not a number",)),
    ({"max": "latency_ms=1_000"}, ("is not a number",)),
    ({"max": "latency_ms=٥"}, ("is not a number",)),
    ({"max": "latency_ms=5,3"}, ("latency_ms=5.3",)),
    ({"max": "60%"}, ("'60%' has no value", "latency_ms=60%")),
    ({"max": "latency_ms:5"}, ("has no value",)),
    ({"max": "LATENCY_MS=5"}, ("did you mean 'latency_ms'?",)),
    ({"max": "latency=5"}, ("did you mean 'latency_ms'?",)),
    ({"max": "latency_ms<=5"}, ("did you mean 'latency_ms'?",)),
    ({"max": "damage=1"}, ("damage cannot be limited", "latency_ms")),
    ({"max": "accuracy=1"}, ("--min accuracy=1",)),
    ({"max": ["latency_ms=5", "latency_ms=3"]}, ("limits latency_ms twice",)),
    ({"min": "accuracy=nan"}, ("'accuracy=nan' is not a number", "accuracy=0.9")),
    ({"min": "accuracy=inf"}, ("'accuracy=inf' is not a number", "accuracy=0.9")),
    ({"min": "accuracy=0"}, ("is not above zero", "accuracy=0.9")),
    ({"min": "accuracy=1.5"}, ("beyond all answers right",)),
    ({"min": "accuracy=150%"}, ("beyond all answers right",)),
    ({"min": "acuracy=0.9"}, ("did you mean 'accuracy'?",)),
    ({"min": ""}, ("--min ''", "accuracy=0.9")),
    ({"min": "latency_ms=3"}, ("--max latency_ms=3",)),
    ({"bits": "x"}, ("--bits x is not possible", "32,8")),
    ({"bits": ""}, ("--bits '' is not possible", "32,8")),
    ({"bits": "8,x"}, ("--bits 8,x is not possible",)),
    ({"bits": "16"}, ("--bits 16 is not possible",)),
    ({"bits": "0x8"}, ("--bits 0x8 is not possible",)),
    ({"bits": "-8"}, ("--bits -8 is not possible",)),
    ({"bits": "8.0"}, ("--bits 8.0 is not possible",)),
    ({"device": ""}, ("--device names no device", "onnxruntime")),
    ({"device": ","}, ("--device names no device",)),
    ({"device": "nul"}, ("did you mean 'null'?",)),
    ({"device": "null,nul"}, ("did you mean 'null'?",)),
    ({"device": "predicted:"}, ("predicted:NAME",)),
    ({"time": "0"}, ("time '0' is not a duration", "0s")),
    ({"time": "-5"}, ("time '-5' is not a duration", "10m")),
    ({"time": "0s"}, ("is not above zero",)),
    ({"time": "1e9h"}, ("is not a duration",)),
    ({"time": "999999999h"}, ("longer than a year",)),
    ({"time": "abc"}, ("is not a duration",)),
    ({"time": ""}, ("time '' is not a duration",)),
    ({"time": "1d"}, ("is not a duration",)),
    ({"time": "10 m"}, ("is not a duration",)),
    ({"epochs": "-1"}, ("--epochs -1 is not above zero", "--no-train")),
    ({"epochs": "0"}, ("--epochs 0 is not above zero",)),
    ({"epochs": "nan"}, ("--epochs 'nan' is not a number",)),
    ({"epochs": "inf"}, ("--epochs inf is too large", "10000")),
    ({"epochs": "1e30"}, ("too large",)),
    ({"epochs": "x"}, ("--epochs 'x' is not a number",)),
    ({"epochs": ""}, ("--epochs '' is not a number",)),
    ({"seed": "-1"}, ("--seed -1 is too small",)),
    ({"seed": "1.5"}, ("--seed '1.5' is not a whole number",)),
    ({"seed": "x"}, ("--seed 'x' is not a whole number",)),
    ({"seed": "9" * 23}, ("--seed", "too large")),
    ({"starts": "0"}, ("--starts 0 is too small",)),
    ({"starts": "1e3"}, ("--starts '1e3' is not a whole number",)),
    ({"finalists": "0"}, ("--finalists 0 is too small",)),
    ({"resize": "0"}, ("--resize '0' is not a size", "32x32")),
    ({"resize": "-5"}, ("--resize '-5' is not a size",)),
    ({"resize": "5000x5000"}, ("from 1 to 4096",)),
    ({"resize": "32x32x3"}, ("is not a size",)),
    ({"resize": "3.5"}, ("is not a size",)),
    ({"normalize": "nan,1"}, ("is not a mean and a deviation",)),
    ({"normalize": "0.5,0"}, ("must be above zero",)),
    ({"normalize": "0.5,-1"}, ("must be above zero",)),
    ({"normalize": "0.5"}, ("is not a mean and a deviation",)),
    ({"normalize": "a,b"}, ("is not a mean and a deviation",)),
    ({"normalize": "1e400,1"}, ("is not a mean and a deviation",)),
    ({"max": None, "budgets": ""}, ("--budgets ''", "40%,20%")),
    ({"max": None, "budgets": "40"}, ("40%", "latency_ms=40")),
    ({"max": None, "budgets": "40%,40%"}, ("names 40% twice",)),
    ({"max": None, "budgets": "nan%"}, ("is not a number",)),
    ({"max": None, "budgets": "-40%"}, ("is not above zero",)),
    ({"max": None, "budgets": "40%;20%"}, ("is not a number",)),
    ({"max": None, "budgets": "accuracy=50%"}, ("--min accuracy=50%",)),
    ({"input_shape": "0,8,8"}, ("--input-shape 0,8,8 is not a shape", "1,28,28")),
    ({"input_shape": "-1,8,8"}, ("--input-shape -1,8,8 is not a shape",)),
    ({"input_shape": "x"}, ("--input-shape x is not a shape",)),
    ({"input_shape": ""}, ("--input-shape '' is not a shape",)),
    ({"input_shape": "1.5,8,8"}, ("--input-shape 1.5,8,8 is not a shape",)),
    ({"input_shape": "1,99999999,99999999"}, ("1e+16 values", "1e+08 in all")),
    ({"input_shape": "1,8,8,8,8"}, ("is not a shape",)),
    ({"keep": ""}, ("--keep ''",)),
    ({"exclude": "a,,b"}, ("--exclude 'a,,b'",)),
    ({"weights": ""}, ("--weights ''", "empty name")),
    ({"models": ""}, ("empty name",)),
    ({"data": " "}, ("--data names nothing", "digits")),
    ({"out": ""}, ("--out ''", "runs/first")),
    ({"out": LONG}, ("300 bytes", "255")),
    ({"out": "net.py"}, ("'net.py' is a file", "--out")),
    ({"out": "net.py/run"}, ("'net.py' is a file", "--out")),
    ({"out": "/proc/run"}, ("/proc", "--out")),
    ({"maximize": "latency_ms"}, ("--minimize latency_ms",)),
    ({"maximize": "foo"}, ("metric 'foo' is unknown",)),
    ({"minimize": "latency_ms"}, ("--min accuracy=0.9",)),
    ({"minimize": "latency_ms", "maximize": "accuracy", "min": "accuracy=0.9"}, ("exclude each other",)),
]
"""(options beside `FIT`, what the line must hold)."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a model, where beginning to load anything is a failure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}-cache")
    monkeypatch.setenv("XDG_DATA_HOME", f"{tmp_path}-data")
    (tmp_path / "net.py").write_text("def build(): raise AssertionError('it was loaded')")
    monkeypatch.setattr(runs, "load", lambda *_: pytest.fail("the options were taken"))
    return tmp_path


def refused(words: list[str], capsys: pytest.CaptureFixture[str], *said: str) -> None:
    """A command line that ends with 2 and one line that holds `said`; nothing is left on the disk."""
    before = sorted(p.name for p in Path().iterdir())
    code = main(words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "internal" not in err
    assert len(err) < 700
    assert [s for s in said if s not in err] == [], err
    assert sorted(p.name for p in Path().iterdir()) == before


def flags(options: dict[str, Any]) -> list[str]:
    """The command line of some options."""
    words = ["fit", *([options["models"]] if options["models"] is not None else [])]
    for name, value in options.items():
        for v in value if isinstance(value, list) else [value]:
            if name != "models" and v is not None:
                words += [f"--{name.replace('_', '-')}", v]
    return words


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_on_the_command_line(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: tuple[str, ...]
) -> None:
    refused(flags({**FIT, **options}), capsys, *said)


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_in_a_file(capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: tuple[str, ...]) -> None:
    given = {k: v for k, v in {**FIT, **options}.items() if v is not None}
    Path("chipfit.yaml").write_text(yaml.safe_dump(given, allow_unicode=True))
    refused(["fit"], capsys, *said)


NAMES = {"max": "limits", "models": "model"}


@pytest.mark.parametrize(
    ("options", "said"), [(o, s) for o, s in OPTIONS if not {"min", "exclude", "maximize"} & set(o)]
)
def test_from_python(options: dict[str, Any], said: tuple[str, ...]) -> None:
    given = {NAMES.get(k, k): v for k, v in {**FIT, **options}.items() if v is not None}
    with pytest.raises(BadInput) as told:
        chipfit.fit(**given)
    assert [s for s in said if s not in str(told.value)] == [], told.value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limits": {"latency_ms": float("nan")}}, "is not a number"),
        ({"limits": {"latency_ms": True}}, "is not a number"),
        ({"limits": {"latency": 5}}, "did you mean 'latency_ms'?"),
        ({"limits": 5}, "--max 5"),
        ({"min_accuracy": float("nan")}, "'accuracy=nan' is not a number"),
        ({"min_accuracy": 95}, "beyond all answers right"),
        ({"seed": 1.0}, "--seed 1.0 is not a whole number"),
        ({"seed": True}, "--seed True is not a whole number"),
        ({"epochs": float("nan")}, "--epochs nan is not a number"),
        ({"bits": (8, 4)}, "--bits 8,4 is not possible"),
        ({"bits": ()}, "--bits '' is not possible"),
        ({"input_shape": (1, 0, 8)}, "--input-shape 1,0,8 is not a shape"),
        ({"keep": [3]}, "--keep [3] is not a list of texts"),
        ({"time": 600}, "time '600' is not a duration"),
        ({"train": "perhaps"}, "train='perhaps'"),
        ({"epochs": 3, "train": False}, "exclude each other"),
        ({"device": 3}, "--device 3 is not a name"),
    ],
)
def test_values_that_only_python_has(given: dict[str, Any], said: str) -> None:
    base = {"model": "net.py:build", "data": "digits", "device": "null", "limits": ["latency_ms=60%"]}
    with pytest.raises(BadInput) as told:
        chipfit.fit(**{**base, **given})
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [1, 2]", "--seed [1, 2] is not a whole number"),
        ("seed: {a: 1}", "--seed {'a': 1} is not a whole number"),
        ("epochs: [1]", "--epochs [1] is not a number"),
        ("bits: {a: 1}", "--bits"),
        ("max: 5", "--max 5 is not a list of texts"),
        ("max: [5]", "--max [5] is not a list of texts"),
        ("time: 600", "time '600' is not a duration"),
        ("time: null\nseed: -1", "--seed -1 is too small"),
        ("train: perhaps", "train='perhaps'"),
        ("model: net.py:build", "did you mean 'models'?"),
        ("timee: 5m", "did you mean 'time'?"),
        ("1: 2", "option '1' is unknown"),
        ("input_shape: [1, a, 8]", "--input-shape 1,a,8 is not a shape"),
        ("models: {a: b}", "is not a name"),
        ("keep: " + "[" + "1," * 500 + "1]", "--keep [1, 1,"),
    ],
)
def test_values_that_only_a_file_has(capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    Path("chipfit.yaml").write_text(text)
    refused(["fit"], capsys, said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fit net.py:build --data digits --max latency_ms=5 --time 1m --time 2m", ("--time", "give it once")),
        ("fit net.py:build --data digits --max latency_ms=5 --seed 1 --seed 2", ("--seed", "give it once")),
        ("fit net.py:build --data digits --max latency_ms=5 --no-train --epochs 3", ("exclude each other",)),
        ("fit net.py:build --data digits --max latency_ms=5 --budgets 40%", ("--max and by --budgets",)),
        ("fit net.py:build --data digits --max latency_ms=5 --foo", ("unknown option: --foo",)),
        ("fit net.py:build --data digits --max latency_ms=5 -x", ("unknown option: -x",)),
        ("fit net.py:build --data digits --max latency_ms=5 --seed", ("--seed requires an argument",)),
        ("fit net.py:build --data digits --max", ("--max requires an argument",)),
        ("fit --data digits --max latency_ms=5 --config none.yaml", ("'none.yaml' cannot be read",)),
        ("fitt net.py:build", ('did you mean "fit"?',)),
        ("resume", ("--run requires an argument",)),
        ("resume none", ("is not a run directory",)),
        ("resume none extra", ("'extra' is not expected here",)),
        ("report none more", ("'more' is not expected here",)),
        ("compare a", ("--other requires an argument",)),
        ("zoo train --epochs -1", ("--epochs -1 is too small",)),
        ("zoo train --epochs 0", ("--epochs 0 is too small",)),
        ("zoo train --epochs 1.5", ("--epochs '1.5' is not a whole number",)),
        ("zoo train nonet", ("'nonet' is unknown", "lenet5")),
        ("zoo train lenet5 --out net.py", ("net.py is a file",)),
        ("zoo train lenet5 --seed x", ("--seed 'x' is not a whole number",)),
        ("zoo foo", ("'foo' is not expected here",)),
        ("predict measure --n 0 net.py:build --out s.npz", ("--n 0 is too small",)),
        ("predict measure --n -3 net.py:build --out s.npz", ("--n -3 is too small",)),
        ("predict measure --n x net.py:build --out s.npz", ("--n 'x' is not a whole number",)),
        ("predict measure --n 1000000000 net.py:build --out s.npz", ("too large",)),
        ("predict measure --bits x net.py:build --out s.npz", ("--bits x is not possible",)),
        ("predict measure --device null net.py:build --out none/s.npz", ("its folder does not exist",)),
        ("predict split --tables a b", ("'a' does not exist",)),
        ("predict draw --tables a.npz --n 0 --out s.csv", ("--n 0 is too small",)),
        ("predict split --tables none.npz --sources 0", ("--sources 0 is too small",)),
        ("predict fit -q --device-timings none.csv --name /", ("--name '/' cannot name a predictor",)),
        (f"predict fit -q --device-timings none.csv --name {LONG}", ("cannot name a predictor", "100")),
        ("predict run nobody net.py:build", ("no predictor 'nobody'",)),
        ("doctor --device foo", ("device 'foo' is unknown", "onnxruntime")),
        ("doctor --device nul", ("did you mean 'null'?",)),
        ("devices foo", ("'foo' is not expected here",)),
        ("demo --budgets 40", ("40%",)),
        ("demo --time x", ("is not a duration",)),
        ("profile", ("no model was named",)),
        ("profile net.py:build --input-shape 1,8,8 --max latency_ms=5", ("unknown option: --max",)),
        ("profile net.py:build --input-shape 1,8,8 --device null,torch", ("one device at a time",)),
        ("check net.py:build --device null --max latency_ms=nan", ("is not a number",)),
        ("check net.py:build --device null --budgets 40%", ("--budgets 40% is for fit",)),
        ("init none/chipfit.yaml", ("its folder does not exist",)),
        ("init net.py", ("'net.py' exists",)),
        ("schema foo", ("'foo' is not expected here",)),
    ],
)
def test_other_verbs(capsys: pytest.CaptureFixture[str], line: str, said: tuple[str, ...]) -> None:
    refused(line.split(" "), capsys, *said)


def test_json_says_the_same_in_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "train", "--epochs", "-1", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": err.removeprefix("error: ").strip(), "exit_code": 2, "nearest": {}}


def test_files_of_weights_are_a_list_with_commas_as_documented() -> None:
    assert runs.Config.of({"weights": "a.pt,b.pt"}).weights == ("a.pt", "b.pt")
    Path("a,b.pt").touch()
    assert runs.Config.of({"weights": "a,b.pt"}).weights == ("a,b.pt",)
