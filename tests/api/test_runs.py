"""Run directories and results. A stand-in plays the recipe, so that laws are tested and not luck."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import nn

import chipfit
from chipfit.api import exporting, runs
from chipfit.api.config import Config
from chipfit.api.result import read_result
from chipfit.cli import main
from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Damaged, Infeasible, Note
from chipfit.core.protocols import Device
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.export import onnx
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Progress, Settings
from chipfit.store.arrays import ArrayFolder
from chipfit.store.memory import MeasurementMemory
from chipfit.store.programs import ProgramLibrary
from chipfit.store.store import Store

# Runs


def small(seed: int = 0) -> Dataset:
    """Two classes of 1x8x8 pictures."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Split:
        return Split(rng.integers(0, 256, (n, 1, 8, 8), np.uint8), np.arange(n) % 2)

    return Dataset("small", ("a", "b"), (0.5,), (0.25,), part(20), part(10), lambda: part(10))


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@dataclass
class StandIn:
    """Plays the recipe: "measures" each budget once, remembers it, and chooses a model a little below it."""

    calls: list[Settings] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    devices: list[list[str]] = field(default_factory=list)
    refuse: tuple[str, ...] = ()
    interrupt: bool = False
    least_ms: float = 0.1
    accuracy: Callable[[float], float] = lambda ms: 0.9

    def fit(
        self, entries: Sequence[Entry], dataset: Dataset, devices: Sequence[Device], settings: Settings, store: Store,
        memory: MeasurementMemory, deadline: Deadline, progress: Progress, profiles: ArrayFolder | None = None,
        library: ProgramLibrary | None = None,
    ) -> tuple[Trial, ...]:  # fmt: skip
        self.calls.append(settings)
        self.devices.append([d.name for d in devices])
        if devices[0].name in self.refuse:
            raise Infeasible(f"no model suits {devices[0].name}", {})
        self.left.append(deadline.left())
        limits = [b[0].against(1.0) for b in settings.budgets]
        store.set_fact("reference", {"name": entries[0].name, "latency_ms": 1.0, "accuracy": 0.95})
        store.set_fact("dataset", {"name": dataset.name, "mean": [0.5], "std": [0.25], "input_shape": [1, 8, 8]})
        store.set_fact("budgets", [str(limit) for limit in limits])
        zoo = {"role": "zoo", "name": entries[0].name, "model": entries[0].name}
        if not store.trials(role="zoo"):
            store.append(Trial(Candidate({"model": entries[0].name}), _numbers(0.95, 1.0), labels=zoo))
        finals = tuple(self._final(limit, entries[0], store, memory) for limit in limits)
        phases = store.fact("phases") or []
        assert isinstance(phases, list)
        store.set_fact("phases", [*phases, ["play", 2.0]])
        if self.interrupt:
            raise KeyboardInterrupt
        store.finish()
        return finals

    def _final(self, limit: Limit, entry: Entry, store: Store, memory: MeasurementMemory) -> Trial:
        ms = 0.95 * limit.value
        if ms < self.least_ms:
            raise Infeasible(
                f"no model can hold {limit}: the nearest takes {self.least_ms} ms", {"latency_ms": self.least_ms}
            )
        key = f"timing of {limit}"
        if memory.get(key) is None:
            self.measured.append(key)
            memory.put(key, Measurement("latency_ms", ms, "measured", "here"))
        blob = store.put_blob(onnx.write(entry.network).data)
        labels = {"role": "final", "name": "ours", "model": entry.name, "budget": str(limit), "blob": blob}
        candidate = Candidate({"model": entry.name, "choices": {"conv": f"{ms:g}"}})
        trial = Trial(candidate, _numbers(self.accuracy(ms), ms), labels=labels)
        store.append(trial)
        return trial


def _numbers(accuracy: float, ms: float) -> tuple[Measurement, ...]:
    return (
        Measurement("accuracy", accuracy, "measured", "validation", spread=0.01),
        Measurement("latency_ms", ms, "measured", "here", spread=0.01),
        Measurement("size_mb", 0.5, "measured"),
    )


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in in the place of the recipe, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = StandIn()
    monkeypatch.setattr(runs.recipe, "fit", made.fit)
    return made


NET = """
import torch
from torch import nn

def build():
    torch.manual_seed({seed})
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
"""


def begun(net_seed: int = 0, **options: Any) -> chipfit.Result:
    """A fit of the small network from files, so that it can be resumed."""
    Path("net.py").write_text(NET.format(seed=net_seed))
    given: dict[str, Any] = {
        "data": "digits",
        "device": "null",
        "limits": {"latency_ms": 0.5},
        "time": "1m",
        "out": "run",
    }
    return chipfit.fit("net.py:build", **{**given, **options})


def test_a_run_leaves_a_whole_directory(recipe: StandIn) -> None:
    result = begun()
    names = {str(p.relative_to("run")) for p in Path("run").rglob("*") if p.is_file()}
    wanted = {"config.yaml", "run.db", "candidates.csv", "front.json", "report.html", "model_card.md"}
    assert wanted | {"best/model.onnx", "best/predict.py"} <= names
    assert result.best is not None
    assert result.best.latency_ms == pytest.approx(0.475)
    assert (result.best.base, result.best.meets_budget, result.best.exportable) == ("net-build", True, True)
    assert Path("run/best/model.onnx").read_bytes() == result.best.data()
    said = str(result)
    assert said.startswith("run: ours (accuracy ")
    assert "ms 0.475" in said
    assert said.endswith("report run/report.html")
    assert [m.role for m in result.front] == ["final", "zoo"]


def test_the_same_options_on_a_finished_run_give_its_result(recipe: StandIn) -> None:
    first, second = begun(), begun()
    assert len(recipe.calls) == 1
    assert second.best == first.best


def test_files_that_went_missing_after_the_end_come_back(recipe: StandIn) -> None:
    begun()
    for name in ("report.html", "best/model.onnx"):
        Path("run", name).unlink()
    begun()
    assert all(Path("run", name).is_file() for name in ("report.html", "best/model.onnx"))


def test_other_options_on_a_run_are_refused(recipe: StandIn) -> None:
    begun()
    with pytest.raises(BadInput, match=r"started with seed=0, now seed=1; give another --out"):
        begun(seed=1)
    with pytest.raises(BadInput, match=r"max"):
        begun(limits={"latency_ms": 0.4})


def test_an_interrupted_run_goes_on(recipe: StandIn) -> None:
    recipe.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        begun()
    recipe.interrupt = False
    result = begun()
    assert result.best is not None
    assert recipe.measured == ["timing of latency_ms <= 0.5"]
    assert recipe.left[1] == pytest.approx(60 - 2, abs=1.5)  # the stand-in says that two seconds were spent


def test_a_run_that_has_used_up_its_time_still_gets_a_quarter(recipe: StandIn) -> None:
    recipe.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        begun()
    with Store("run") as store:
        store.set_fact("phases", [["play", 500.0]])
    recipe.interrupt = False
    begun()
    assert recipe.left[1] == pytest.approx(15, abs=1.5)


def test_another_network_under_the_same_name_is_refused(recipe: StandIn) -> None:
    recipe.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        begun()
    with pytest.raises(BadInput, match="model net-build is not what run"):
        begun(net_seed=1)


def test_resume_with_another_budget_measures_only_what_is_new(recipe: StandIn) -> None:
    begun(limits={}, budgets="50%,40%")
    result = chipfit.resume("run", budgets="40%,30%")
    assert recipe.measured == [f"timing of latency_ms <= {x}" for x in (0.5, 0.4, 0.3)]
    assert [m.budget for m in result.finals] == ["latency_ms <= 0.4", "latency_ms <= 0.3"]
    assert result.best is not None
    assert result.best.latency_ms == pytest.approx(0.38)
    assert yaml.safe_load(Path("run/config.yaml").read_text())["budgets"] == ["40%", "30%"]


def test_resume_without_a_change_gives_the_result(recipe: StandIn) -> None:
    first = begun()
    assert chipfit.resume("run").best == first.best
    assert chipfit.resume("run", limits=["latency_ms=0.5"]).best == first.best
    assert len(recipe.calls) == 1


def test_a_finished_run_answers_for_its_own_networks_alone(recipe: StandIn) -> None:
    first = begun()
    assert begun().path == first.path
    with pytest.raises(BadInput, match="is not what run run was started with; give another --out"):
        begun(net_seed=1)
    unnamed = begun(out=None)
    trained = begun(net_seed=1, out=None)
    assert trained.path != unnamed.path
    assert begun(net_seed=1, out=None).path == trained.path
    assert begun(out=None).path == unnamed.path
    assert len(recipe.calls) == 3


def test_an_impossible_budget_tells_the_nearest_and_leaves_a_report(recipe: StandIn) -> None:
    with pytest.raises(Infeasible) as e:
        begun(limits={"latency_ms": 0.01})
    assert e.value.nearest == {"latency_ms": 0.1}
    assert Path("run/report.html").is_file()
    result = chipfit.resume("run", limits={"latency_ms": 0.2})
    assert result.best is not None


def test_an_accuracy_that_is_not_reached_is_infeasible_each_time(recipe: StandIn) -> None:
    for _ in range(2):
        with pytest.raises(Infeasible, match=r"reaches accuracy 0.93: the nearest has 0.9") as e:
            begun(min_accuracy=0.93)
        assert e.value.nearest == {"accuracy": 0.9}
    assert begun(out="other", min_accuracy="90%").best is not None


def test_minimising_leads_with_the_smallest_that_is_good_enough(recipe: StandIn) -> None:
    recipe.accuracy = lambda ms: 0.8 + 0.2 * ms
    result = begun(limits={}, minimize="latency_ms", min_accuracy=0.88)
    assert [round(m.accuracy or 0, 3) for m in result.finals] == [0.895, 0.933, 0.867, 0.848]
    assert result.best is not None
    assert result.best.budget == "latency_ms <= 0.5"
    assert Path("run/best/model.onnx").read_bytes() == result.best.data()


def test_objects_are_taken_as_they_are(recipe: StandIn) -> None:
    module = net().train()
    result = chipfit.fit(module, data=small(), device="null", limits={"latency_ms": "50%"}, out="run")
    assert result.best is not None
    assert result.best.base == "Sequential-1"
    assert module.training
    again = chipfit.fit(module, data=small(), device="null", limits={"latency_ms": "50%"}, out="run")
    assert again.best == result.best
    with pytest.raises(BadInput, match="given as a Python object; call chipfit.fit with it again"):
        chipfit.resume("run", limits=["latency_ms=40%"])


def test_unlabelled_data_need_no_train(recipe: StandIn) -> None:
    whole = small()
    bare = replace(whole, train=Split(whole.train.inputs), validation=Split(whole.validation.inputs))
    with pytest.raises(BadInput, match="no labels to train with; give labelled data, or --no-train"):
        chipfit.fit(net(), data=bare, device="null", limits={"latency_ms": 0.5}, out="run")
    assert not Path("run").exists()
    assert chipfit.fit(net(), data=bare, device="null", limits={"latency_ms": 0.5}, train=False, out="run").best


def test_a_failed_fit_leaves_nothing_that_refuses_the_corrected_command(recipe: StandIn) -> None:
    with pytest.raises(Infeasible):
        begun(limits={"latency_ms": 0.05})
    assert begun(limits={"latency_ms": 0.5}).best
    with pytest.raises(BadInput, match="started with max"):
        begun(limits={"latency_ms": 0.4})


def test_a_file_that_was_wrong_can_be_mended(recipe: StandIn) -> None:
    with pytest.raises(Infeasible):
        begun(limits={"latency_ms": 0.05})
    with pytest.raises(Infeasible):
        begun(net_seed=1, limits={"latency_ms": 0.05})
    recipe.least_ms = 0.01
    assert begun(net_seed=2, limits={"latency_ms": 0.05}).best
    with Store("run", read_only=True) as store:
        assert len(store.trials(role="zoo")) == 1, "rows of the failed run stayed"


def test_a_run_that_was_stopped_before_anything_was_trained_can_be_replaced(recipe: StandIn) -> None:
    with Store.open_or_create("run", {"seed": 5}) as store:
        store.append(Trial(Candidate({"model": "a"}), labels={"role": "zoo"}))
        store.put_blob(b"x")
    assert begun().best
    with Store("run", read_only=True) as store:
        assert len(store.trials(role="zoo")) == 1


@pytest.mark.parametrize("worth", ["long net 1234", "candidate", "final"])
def test_a_run_that_did_work_is_not_replaced(recipe: StandIn, worth: str) -> None:
    recipe.interrupt = True
    with Store.open_or_create("run", {"seed": 5}) as store:
        if worth.startswith("long"):
            store.set_fact(worth, [0.1, 3, 1.0])
        else:
            store.append(Trial(Candidate({}), labels={"role": worth}))
    with pytest.raises(BadInput, match="give another --out, or the same options to go on"):
        begun()


@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_a_final_file_that_was_damaged_is_made_again_by_the_same_command(recipe: StandIn, how: str) -> None:
    blob = begun().best.blob  # type: ignore[union-attr]
    assert blob is not None
    place = Path("run/blobs") / blob
    data = place.read_bytes()
    place.write_bytes(b"x") if how == "damaged" else place.unlink()
    with pytest.raises(Damaged, match=r"chipfit resume run makes it again"):
        chipfit.export_run("run")
    with pytest.warns(Note, match="it is made again now"):
        assert chipfit.resume("run").best
    assert place.read_bytes() == data
    place.unlink()
    with pytest.warns(Note, match="it is made again now"):
        assert begun().best
    assert chipfit.export_run("run").path.read_bytes() == data


def test_a_cache_that_is_damaged_or_cannot_be_written_does_not_stop_a_fit(
    recipe: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache" / "chipfit").mkdir(parents=True)
    (tmp_path / "cache" / "chipfit" / "measurements.db").write_bytes(b"no database" * 50)
    with pytest.warns(Note, match="set aside as measurements.db.damaged"):
        assert begun().best
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(Note, match="XDG_CACHE_HOME names another place"):
        assert begun(out="other").best


def test_settings_reach_the_recipe(recipe: StandIn) -> None:
    begun(epochs=2.5, bits=(32,), keep=["0"], starts=1, finalists=4, baselines=False, seed=7)
    (settings,) = recipe.calls
    assert settings == Settings(
        budgets=((Limit("latency_ms", 0.5),),), train=True, epochs=2.5, bits=(32,), keep=("0",), starts=1, finalists=4,
        baselines=False, seed=7, time_s=60.0,
    )  # fmt: skip


def test_measurements_are_remembered_for_the_next_run(recipe: StandIn) -> None:
    begun()
    begun(out="second")
    assert recipe.measured == ["timing of latency_ms <= 0.5"]
    with Store("second", read_only=True) as store:
        assert store.measurement("timing of latency_ms <= 0.5") is not None


# Several devices


def each(**options: Any) -> dict[str, chipfit.Result | chipfit.ChipfitError]:
    Path("net.py").write_text(NET.format(seed=0))
    given: dict[str, Any] = {"data": "digits", "limits": {"latency_ms": 0.5}, "time": "1m", "out": "both"}
    return chipfit.fit_each("net.py:build", **{**given, **options})


def test_each_device_has_a_run_and_its_part_of_the_time(recipe: StandIn) -> None:
    found = each(devices=["null", "local", "onnxruntime"])
    assert list(found) == ["null", "onnxruntime"], "two names of one device are one"
    assert recipe.devices == [["null"], ["onnxruntime"]]
    assert all(20 < left <= 30 for left in recipe.left)
    for name, result in found.items():
        assert isinstance(result, chipfit.Result)
        assert result.path == Path("both") / name
    again = each(devices=["null", "onnxruntime"])
    assert len(recipe.calls) == 2, "finished runs give their results"
    assert [r.best for r in again.values() if isinstance(r, chipfit.Result)] == [
        r.best for r in found.values() if isinstance(r, chipfit.Result)
    ]


def test_what_one_device_refuses_another_may_take(recipe: StandIn) -> None:
    recipe.refuse = ("null",)
    found = each(devices=["null", "onnxruntime"])
    assert isinstance(found["null"], Infeasible)
    assert isinstance(found["onnxruntime"], chipfit.Result)


def test_a_device_that_is_not_there_is_found_before_anything_is_done(recipe: StandIn) -> None:
    with pytest.raises(BadInput, match="'opnvino' is unknown"):
        each(devices=["null", "opnvino"])
    assert recipe.calls == []


def test_a_limit_that_one_device_refuses_is_found_before_any_is_run(recipe: StandIn) -> None:
    devices, limits = ["accel:pynq-z2", "onnxruntime"], {"latency_ms": 0.5, "dsp": 100}
    with pytest.raises(BadInput, match="limits the hardware of an accelerator, and --device onnxruntime is none"):
        each(devices=devices, limits=limits)
    config = Config.of({"models": "net.py:build", "data": "digits", "device": ",".join(devices), "max": limits})
    with pytest.raises(BadInput, match="limits the hardware of an accelerator, and --device onnxruntime is none"):
        runs.run_each(config)
    assert recipe.calls == []


def test_one_model_for_several_devices_is_one_run(recipe: StandIn) -> None:
    result = begun(device="null,onnxruntime", one_model=True)
    assert recipe.devices == [["null", "onnxruntime"]]
    assert result.path == Path("run")
    with pytest.raises(BadInput, match="give --one-model, or use chipfit.fit_each"):
        begun(device="null,onnxruntime", out="other")


# Results


def test_a_model_is_found_by_key_name_or_budget(recipe: StandIn) -> None:
    result = begun(limits={}, budgets="50%,40%")
    second = result.finals[1]
    assert result.find("latency_ms <= 0.4") == second
    assert result.find(second.key[:6]) == second
    assert result.find("ours") == result.best
    with pytest.raises(BadInput, match=r"has no candidate 'best'; as files it has .* \(ours, latency_ms <= 0.5\)"):
        result.find("best")


def test_exporting(recipe: StandIn, tmp_path: Path) -> None:
    result = begun()
    assert result.best is not None
    assert result.best.export(tmp_path / "m.onnx").read_bytes() == result.best.data()
    with pytest.raises(BadInput, match="does not end like onnx; give FOLDER/model.onnx, or another format"):
        result.best.export(tmp_path / "m.tflite")
    with pytest.raises(BadInput, match="its folder does not exist"):
        result.best.export(tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(BadInput, match="was not kept as a file"):
        result.find("net-build").export(tmp_path / "zoo.onnx")


def test_an_exported_file_is_verified_against_an_independent_implementation(recipe: StandIn) -> None:
    begun()
    done = chipfit.export_run("run", verify=True, out="m.onnx")
    assert done.verified is not None
    assert done.verified.agreement == 1.0
    assert done.verified.largest_error < 1e-5
    assert chipfit.export_run("run").path.parent == Path("run/export")


def test_a_file_that_answers_differently_is_not_exported(recipe: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    begun()
    honest = exporting._reference
    monkeypatch.setattr(exporting, "_reference", lambda model, x: honest(model, x) + np.float32(0.5))
    with pytest.raises(ChipfitError, match="answers differently from ONNX's reference implementation"):
        chipfit.export_run("run", verify=True, out="m.onnx")
    assert not Path("m.onnx").exists()


def test_a_file_that_gives_other_classes_is_not_exported(recipe: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    begun()
    honest = exporting._compared
    monkeypatch.setattr(exporting, "_compared", lambda *a: replace(honest(*a), agreement=0.88))
    with pytest.raises(ChipfitError, match=r"the same class in 88 % of 64 inputs, at least 95 % are wanted"):
        chipfit.export_run("run", verify=True, out="m.onnx")
    assert not Path("m.onnx").exists()
    assert main(["export", "run", "--verify", "--out", "m.onnx"]) == 1


def test_a_tie_is_no_other_class() -> None:
    want = np.array([[1.0, 0.9995, 0.0], [1.0, 0.2, 0.0], [0.0, 1.0, 0.0]], np.float32)
    got = np.array([[0.9995, 1.0, 0.0], [0.2, 1.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    found = exporting._compared("here", got, want, 1e-3)
    assert found.agreement == pytest.approx(2 / 3), "the first differs by a tie, the second by more"
    assert exporting._compared("here", np.full_like(got, np.nan), want, 1e-3).agreement == 0.0


def test_what_nothing_runs_cannot_be_verified() -> None:
    with pytest.raises(BadInput, match="nothing runs vhdl files"):
        exporting._runs("vhdl")


def test_pandas_is_asked_for_when_it_is_needed(recipe: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    result = begun()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ChipfitError, match="pip install pandas"):
        result.front.to_pandas()


def test_a_result_as_json_holds_what_it_says(recipe: StandIn) -> None:
    result = begun()
    plain = json.loads(json.dumps(result.plain()))
    assert plain["finished"] is True
    assert plain["best"]["latency_ms"] == pytest.approx(0.475)
    assert {m["role"] for m in plain["models"]} == {"zoo", "final"}
    with Store("run", read_only=True) as store:
        assert read_result(store).best == result.best == chipfit.open_run("run").best


def test_comparing_two_runs_names_the_decisions_that_differ(recipe: StandIn) -> None:
    begun()
    begun(out="other", limits={"latency_ms": 0.4})
    c = chipfit.compare("run", "other")
    assert c.layers == (("conv", "0.475", "0.38"),)
