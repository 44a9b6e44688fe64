"""Accelerators on the command line: limits on hardware, networks without weights, files, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chipfit.api.config import Config
from chipfit.api.quick import check, profile
from chipfit.cli import main
from chipfit.core.errors import BadInput, Infeasible
from chipfit.core.types import Limit
from chipfit.evaluate import modelled

MODEL = "published:resnet18"
DEVICE = "accel:zcu102"


def test_limits_on_resources_are_part_of_the_device() -> None:
    c = Config.of({"models": MODEL, "device": f"{DEVICE},onnxruntime", "max": ["latency_ms=5", "dsp=1200", "uram=0"]})
    assert c.devices == (f"{DEVICE}/dsp=1200/uram=0", "onnxruntime")
    assert c.budget_sets == ((Limit("latency_ms", 5.0),),)
    more = c.with_budget(["dsp=600"], ())
    assert more.devices == (f"{DEVICE}/uram=0/dsp=600", "onnxruntime")
    assert more.limits == c.limits


WRONG = [
    (
        {"device": "local", "max": "dsp=100"},
        "--max dsp=100 limits the hardware of an accelerator, and --device local",
    ),
    ({"device": DEVICE, "max": "dps=100"}, "metric 'dps' is unknown; did you mean 'dsp'?; known: accuracy, latency_ms"),
    ({"device": DEVICE, "max": "luts=100"}, "of an accelerator: dsp, bram18, uram, lutram, port_bits, ddr_gb_s"),
    ({"device": DEVICE, "max": ["dsp=100", "dsp=90"]}, "--max limits dsp twice"),
    ({"device": DEVICE, "max": "dsp=many"}, "dsp 'many' is not a whole number"),
    ({"device": DEVICE, "budgets": "dsp=100"}, "--budgets dsp=100 limits hardware"),
    ({"device": "accel:zcu12"}, "part 'zcu12' is unknown; did you mean 'zcu102'"),
    ({"device": "acel:zcu102"}, "known: onnxruntime, "),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_cannot_be_meant_is_told_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as told:
        Config.of({"models": MODEL, **options})
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_data_without_weights_to_score_are_refused() -> None:
    with pytest.raises(BadInput, match="published:resnet18 has no weights to score on --data digits"):
        _ = Config.of({"models": MODEL, "data": "digits"}).weightless


def test_networks_with_and_without_weights_do_not_mix() -> None:
    with pytest.raises(BadInput, match="published:resnet18 has no weights and other models do"):
        _ = Config.of({"models": [MODEL, "zoo:fashion-mnist"]}).weightless


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A joint search over few designs."""
    monkeypatch.setattr(modelled, "MOST_TIMES", 2e5)
    monkeypatch.setattr("chipfit.recipes.cost_front.FRONT", (0.5,))


def arguments(out: Path, limit: str, *more: str) -> list[str]:
    options = ["--device", DEVICE, "--max", limit, "--input-shape", "3,48,48", "--out", str(out), "--quiet", "--json"]
    return ["fit", MODEL, *options, *more]


@pytest.mark.long
@pytest.mark.usefixtures("few")
def test_a_network_without_weights_ends_in_a_design(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path / "run", "latency_ms=60%")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["best"]["accuracy"] is None
    assert result["best"]["provenance"] == "simulated"
    assert any("accuracy is unknown" in line for line in result["warnings"])
    design = json.loads((tmp_path / "run" / "best" / "hardware.json").read_text())
    assert design["latency_ms"] == pytest.approx(result["best"]["latency_ms"])
    assert design["resources"]["dsp"]["used"] <= design["resources"]["dsp"]["available"] == 2520
    assert sum(layer["ms"] for layer in design["layers"]) == pytest.approx(design["latency_ms"])
    assert main(arguments(tmp_path / "run", "latency_ms=60%")) == 0, "a finished run is read"
    assert main(arguments(tmp_path / "none", "latency_ms=0.000001")) == Infeasible.exit_code
    assert "the nearest takes" in capsys.readouterr().err


def test_weights_are_asked_for_where_files_would_be_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["fit", MODEL, "--device", "null", "--max", "latency_ms=5", "--out", str(out)]) == BadInput.exit_code
    assert "published:resnet18 has no weights" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("few")
def test_check_and_profile_know_accelerators() -> None:
    found = check(MODEL, limits={"latency_ms": "50%"}, device=f"{DEVICE}/dsp=500", input_shape=(3, 48, 48))
    feasible = found["resnet18"]
    assert feasible.feasible
    assert feasible.predicted["latency_ms"] <= feasible.limits["latency_ms"]  # type: ignore[union-attr]
    profiled = profile(MODEL, device=DEVICE, input_shape=(3, 48, 48))["resnet18"]
    assert sum(row.ms for row in profiled.rows) == pytest.approx(profiled.ms)
    assert {row.bottleneck for row in profiled.rows} <= {
        "computing", "loading weights", "loading inputs", "storing outputs",
    }  # fmt: skip
