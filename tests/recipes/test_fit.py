"""The main job on a counted device: budgets held, splits respected, killed at any moment and taken up again."""

from __future__ import annotations

import csv
import io
import os
import pickle
import random
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
import torch

import chipfit
from chipfit.api.exporting import export
from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.export.dummy import random_weights
from chipfit.export.formats import FORMATS, known_format
from chipfit.recipes import master, report_facts
from chipfit.recipes.deploy import labels_of
from chipfit.recipes.fit import fit
from chipfit.recipes.refine import Tuned
from chipfit.report.numbers import candidates_csv
from chipfit.report.view import RunView, view
from chipfit.store.store import Store
from recipes import small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    small.run(folder)
    return folder


def finals(folder: Path) -> list[tuple[str, str, float]]:
    with Store(folder, read_only=True) as store:
        assert store.finished
        return [(t.labels["budget"], t.candidate.key, accuracy(t, "test")) for t in store.trials(role="final")]


def accuracy(trial: Trial, where: str) -> float:
    return next(m.value for m in trial.measurements if m.metric == "accuracy" and m.where == where)


def test_each_budget_is_held_by_the_file(finished: Path) -> None:
    with Store(finished, read_only=True) as store:
        texts = store.fact("budgets")
        assert isinstance(texts, list)
        for text, trial in zip(texts, store.trials(role="final"), strict=True):
            limit = Limit.parse(str(text).replace(" <= ", "="))
            assert limit.met(trial.get("latency_ms"), 1e-3)
            assert trial.labels["budget"] == text
            session = store.blob(trial.labels["blob"])
            assert len(session) / 1e6 == trial.get("size_mb")
        assert len(store.test_reads()) == 1
        assert {t.labels["name"] for t in store.trials(role="zoo")} == {"plain", "residual"}
        additive = store.fact("additive")
        assert isinstance(additive, dict)
        assert len(additive["true"]) >= 40  # type: ignore[arg-type]


def test_fine_tuned_designs_beat_chance_by_far(finished: Path) -> None:
    for _, _, test in finals(finished):
        assert test > 0.6


def test_another_budget_reuses_what_is_known(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second budget on a profiled model damages nothing anew: the profile comes from the store."""
    import shutil

    from chipfit.evaluate import start

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("*lock*"))

    def refuse(*_: object) -> None:
        raise AssertionError("profiled again")

    monkeypatch.setattr(start.profiling, "profile", refuse)
    settings = replace(small.SETTINGS, budgets=((Limit("latency_ms", 0.5, relative=True),),), train=False)
    trials = small.run(copy, settings)
    assert len(trials) == 1


@pytest.mark.long
def test_an_impossible_budget_says_what_is_possible(tmp_path: Path) -> None:
    settings = replace(small.SETTINGS, budgets=((Limit("latency_ms", 1e-4),),))
    with pytest.raises(Infeasible, match="the nearest reaches latency_ms") as e:
        small.run(tmp_path / "run", settings)
    assert 1e-4 < e.value.nearest["latency_ms"] < 0.05


@pytest.mark.long
def test_a_limit_on_size_is_held_by_the_file(tmp_path: Path) -> None:
    settings = replace(small.SETTINGS, budgets=((Limit("size_mb", 0.5, relative=True),),), train=False)
    (final,) = small.run(tmp_path / "run", settings)
    with Store(tmp_path / "run", read_only=True) as store:
        limit = Limit.parse(str(store.fact("budgets")[0]).replace(" <= ", "="))  # type: ignore[index]
        assert 0.6 * limit.value < len(store.blob(final.labels["blob"])) / 1e6 <= limit.value
        assert final.candidate.values["edits"]


def test_models_must_fit_the_data(tmp_path: Path) -> None:
    digits = load_data("digits")
    wide = replace(digits, train=Split(np.zeros((8, 1, 9, 9), np.uint8), np.zeros(8, np.int64)))
    models = small.entries(digits, steps=1)
    with Store(tmp_path / "a") as store, pytest.raises(BadInput, match=r"takes inputs of shape \(1, 8, 8\)"):
        fit(models, wide, [Null()], small.SETTINGS, store, store.memory, Deadline.never(), lambda *_: None)
    with Store(tmp_path / "b") as store, pytest.raises(BadInput, match="no model was given"):
        fit([], digits, [Null()], small.SETTINGS, store, store.memory, Deadline.never(), lambda *_: None)


@pytest.mark.long
def test_without_labels_and_without_training(tmp_path: Path) -> None:
    digits = load_data("digits")
    blind = replace(
        digits, train=Split(digits.train.inputs), validation=Split(digits.validation.inputs), open_test=_shut
    )
    models = small.entries(digits)[1:]
    settings = replace(small.SETTINGS, budgets=((Limit("latency_ms", 0.7, relative=True),),), train=False)
    with Store(tmp_path / "run") as store:
        (final,) = fit(models, blind, [Null()], settings, store, store.memory, Deadline.never(), lambda *_: None)
        assert not store.test_reads()
        assert final.get("damage") < 1.0
        assert not final.has("accuracy")
        assert _agreement(models[0].network, store.blob(final.labels["blob"]), digits) > 0.7


def _shut() -> Split:
    raise AssertionError("the test part was opened")


def _agreement(network: object, file: bytes, digits: Dataset) -> float:
    import onnxruntime as ort

    from chipfit.nets.build import build

    session = ort.InferenceSession(file)
    x = digits.normalise(digits.validation.inputs)
    got = np.concatenate([session.run(None, {"input": x[i : i + 1]})[0] for i in range(len(x))])
    with torch.inference_mode():
        want = build(network)(torch.from_numpy(x)).numpy()  # type: ignore[arg-type]
    return float((got.argmax(1) == want.argmax(1)).mean())


KILLS = 10
"""For each of two draws, which may run side by side."""


def program(folder: Path, models: Path, *step: int) -> subprocess.CompletedProcess[str]:
    """The small fit of these networks in a process of its own, killed at a step on the disk where one is given."""
    here = Path(small.__file__)
    path = os.pathsep.join([str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, str(here), str(folder), str(models), *map(str, step)]
    return subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("draw", [0, 1])
def test_killed_at_random_steps_it_ends_in_the_same_choice(finished: Path, tmp_path: Path, draw: int) -> None:
    whole = finals(finished)
    models = tmp_path / "networks"
    models.write_bytes(pickle.dumps(small.entries(load_data("digits"))))
    steps = int(program(tmp_path / "counted", models).stdout)
    chosen = random.Random(draw)
    kills, number, folder = 0, 0, tmp_path / "run0"
    while kills < KILLS:
        done = program(folder, models, chosen.randint(1, steps))
        if done.returncode == -signal.SIGKILL:
            kills += 1
            with Store(folder):  # it opens, and nothing finished is lost: the next round goes on from it
                pass
        else:
            assert done.returncode == 0
            assert finals(folder) == whole
            number += 1
            folder = tmp_path / f"run{number}"
    assert program(folder, models).returncode == 0
    assert finals(folder) == whole


@pytest.mark.parametrize(
    ("to", "package"), [("onnx", "onnxruntime"), ("litert", "ai_edge_litert"), ("openvino", "openvino")]
)
def test_a_final_is_written_in_any_format_and_verified(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, package: str
) -> None:
    pytest.importorskip(package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = export(finished, to=to, out=tmp_path / f"m{FORMATS[known_format(to)].suffix}", verify=True)
    assert done.path.is_file()
    assert done.verified is not None
    assert done.verified.inputs == 64
    assert done.verified.agreement >= 0.95
    assert done.verified.mean_error < 0.05
    assert done.note == ""
    if to == "openvino":
        assert (tmp_path / "m.bin").is_file()


def test_a_final_is_written_for_batches(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = export(finished, to="onnx-batch", out=tmp_path / "m.onnx", verify=True)
    assert done.note == "the batch axis is open; latency was measured of the file for one input"
    session = ort.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((5, *session.get_inputs()[0].shape[1:])).astype(np.float32)
    together = session.run(None, {"input": x})[0]
    each = np.concatenate([session.run(None, {"input": row[None]})[0] for row in x])
    np.testing.assert_allclose(together, each, rtol=1e-3, atol=0.02 * np.abs(each).max())


@pytest.mark.parametrize(("to", "package"), [("ncnn", "ncnn"), ("safetensors", "torch")])
def test_a_format_without_int8_gets_the_float_network_and_says_so(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, package: str
) -> None:
    pytest.importorskip(package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Store(finished, read_only=True) as store:
        quantised = [t for t in store.trials(role="final") if not t.labels["sites"].startswith("0 ")]
    assert quantised, "a final of this run computes in int8"
    done = export(
        finished, candidate=quantised[0].key, to=to, out=tmp_path / f"m{FORMATS[known_format(to)].suffix}", verify=True
    )
    assert done.note == f"{to} has no int8: written in float32, of which no latency was measured"
    assert done.plain()["note"] == done.note
    assert done.verified is not None
    assert done.verified.largest_error < 1e-3, "held against the float network"


def test_a_key_names_one_network_and_a_network_has_one_key(finished: Path) -> None:
    """Trained and untrained, chosen for several budgets or none: a key stands for structure and weights."""
    with Store(finished, read_only=True) as store:
        rows = {r.key: r for r in view(store).rows}
        kept = [t for t in store.trials() if "blob" in t.labels]
        networks = {t.key: master.network(store, t.labels["blob"]) for t in kept}
        by_key: dict[str, set[str]] = {}
        for t in store.trials():
            by_key.setdefault(t.key, set()).add(t.labels["file"])
    assert len(kept) > len(networks) > 2
    files = [file for of in by_key.values() for file in of]
    assert len(files) == len(set(files)) == len(by_key), "one file, one key"
    assert all(network.digest() == key for key, network in networks.items())
    lines = list(csv.DictReader(io.StringIO(candidates_csv(view_of(finished)))))
    assert {line["key"] for line in lines} == set(rows)


def view_of(folder: Path) -> RunView:
    with Store(folder, read_only=True) as store:
        return view(store)


def test_rows_say_what_training_they_got_and_where_they_come_from(tmp_path: Path) -> None:
    small.run(tmp_path / "run", replace(small.SETTINGS, budgets=small.SETTINGS.budgets[1:], epochs=3, starts=1))
    run = view_of(tmp_path / "run")
    trained = [r for r in run.rows if r.role == "candidate" and "untrained" not in r.name]
    assert trained
    assert all(r.steps is not None and r.steps[0] == r.steps[1] > 0 for r in trained)
    assert all(r.steps is None for r in run.rows if r.role == "zoo")
    (final,) = run.of_role("final")
    own = next(x for x in run.rows if x.role != "final" and x.key == final.key)
    assert final.steps == own.steps
    assert final.sites == own.sites
    assert final.origin or own.budget == final.budget


def _tuned(name: str, role: str, steps: tuple[int, int] | None) -> Tuned:
    graph = small.plain_graph()
    network = Network(graph, random_weights(graph, np.random.default_rng(0)))
    return Tuned(name, role, "plain", "latency_ms <= 1", network, [], {}, None, 0.0, steps)


def test_a_baseline_without_training_is_no_rival_of_trained_designs(tmp_path: Path) -> None:
    ours = _tuned("ours from plain", "candidate", (769, 1460))
    rival = _tuned("uniform width int8", "baseline", (0, 1460))
    file = Artifact("onnx", b"", ours.network.graph)
    labels = [labels_of(t, file, [ours, rival]) for t in (ours, rival)]
    assert [x["role"] for x in labels] == ["candidate", "candidate"]
    assert [x["name"] for x in labels] == ["ours from plain", "uniform width int8, untrained"]
    nobody = [_tuned(t.name, t.role, None) for t in (ours, rival)]
    assert labels_of(nobody[1], file, nobody)["role"] == "baseline", "where nothing was trained it is a rival"
    with Store(tmp_path / "run") as store:
        report_facts.write_untrained(store, [Trial(Candidate({}), (), None, x) for x in labels])
        cut, without = store.fact("warnings")  # type: ignore[misc]
    assert cut.endswith("its training was shortened, as a whole, to 769 of 1460 steps")
    assert without.endswith("untrained, under latency_ms <= 1: it got none of 1460 steps, and is not shown as a rival")


def test_a_name_that_ends_like_another_format_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not end like onnx; give"):
        export(finished, out=tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_fails_leaves_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Null, artifact: object) -> list[object]:
        raise ChipfitError("it is cut off")

    monkeypatch.setattr(Null, "profile", refuse)
    small.run(tmp_path / "run", replace(small.SETTINGS, budgets=small.SETTINGS.budgets[:1], train=False))
    with Store(tmp_path / "run", read_only=True) as store:
        assert store.finished
        assert store.fact("warnings") == ["null could not be asked for times by operator: it is cut off"]


def test_a_model_that_knows_no_more_than_chance_is_told_of(tmp_path: Path) -> None:
    """Inputs scaled otherwise than in training cost all accuracy, and say nothing by themselves."""

    class Row:
        def __init__(self, name: str, accuracy: float) -> None:
            self.entry, self.trial = (
                SimpleNamespace(name=name),
                Trial(
                    Candidate({}),
                    (Measurement("accuracy", accuracy, "measured", "validation", "", 0.04, 100),),
                    None,
                    {},
                ),
            )

    four = Split(np.zeros((100, 4), np.float32), np.arange(100) % 4)
    dataset = Dataset("four", tuple("abcd"), (0.0,), (1.0,), four, four, _shut)
    rows = [Row("lost", 0.27), Row("found", 0.6)]
    with Store.open_or_create(tmp_path / "run", {}) as store:
        report_facts.warn_of_chance(store, rows, dataset)  # type: ignore[arg-type]
        (line,) = store.fact("warnings")  # type: ignore[misc]
    assert line.startswith("lost, untouched, is right on 27.0 % of validation, no more than by guessing")
    assert "--normalize" in line


def test_a_network_without_choices_is_the_answer_where_it_holds_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(6, 4),
    ).eval()  # fmt: skip
    part = np.random.default_rng(0).random((60, 3, 8, 8)).astype(np.float32), np.arange(60) % 4
    data = {"train": part, "validation": part, "test": part}
    for limit, held in (("size_mb=0.01", True), ("size_mb=0.0005", False)):
        out = tmp_path / limit
        with nullcontext() if held else pytest.raises(Infeasible, match=r"the nearest reaches size_mb 0\.001"):
            result = chipfit.fit(
                net, data=data, limits=limit, bits=[32], device="null", train=False, time="1m", out=out
            )
            assert result.best is not None
            assert result.best.edits == 0
