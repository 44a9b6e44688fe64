"""What all arms of a benchmark share: data, models, a device, one fine-tune, recorded rows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from harness import Rows
from numpy.typing import NDArray

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Network
from chipfit.core.kernel_patterns import kept, patterns_of
from chipfit.core.types import Limit, Trial
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.start import Start, open_start
from chipfit.evaluate.timing import Timing
from chipfit.export.dummy import random_weights
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry
from chipfit.recipes.fit import fit, forget
from chipfit.recipes.settings import Settings
from chipfit.recipes.steps import FIRST_SHARE, batch_of
from chipfit.space import edits as on_graph
from chipfit.space.edits import from_plain
from chipfit.store.memory import MeasurementMemory
from chipfit.store.store import Store
from chipfit.train.distill import teach, views_for
from chipfit.train.jobs import Done, Job, run_jobs
from chipfit.train.loop import Schedule, Views


@dataclass
class Bench:
    """One data set on one device; `epochs` is the length of the recipe's long schedule.

    With `exact` int8 layers of files are computed without the saturation that some processors' kernels have.
    """

    name: str
    dataset: Dataset
    entries: dict[str, Entry]
    timing: Timing
    memory: MeasurementMemory
    rows: Rows
    epochs: float
    exact: bool = False
    deployer: Deployer = field(init=False)
    trained: dict[str, Done] = field(default_factory=dict, init=False)
    _starts: dict[str, Start] = field(default_factory=dict, init=False)
    _views: dict[str, Views] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.deployer = Deployer(self.timing, self.dataset)

    @property
    def steps(self) -> int:
        """Of every rival's fine-tune: the recipe's short and long schedule together, as one."""
        long = round(self.epochs * (len(self.dataset.train) // batch_of(len(self.dataset.train))))
        return long + round(FIRST_SHARE * long)

    def start(self, name: str) -> Start:
        """The opened menu of an entry."""
        if name not in self._starts:
            self._starts[name] = open_start(self.entries[name], self.dataset, self.timing)
        return self._starts[name]

    def teacher(self, name: str) -> Views:
        """Stored logits of a teacher, for as many views as the recipe takes."""
        if name not in self._views:
            torch.set_num_threads(os.cpu_count() or 1)
            self._views[name] = teach(build(self.entries[name].network), self.dataset, views_for(self.epochs))
        return self._views[name]

    @cached_property
    def test(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Normalised inputs and labels of the test part."""
        split = self.dataset.open_test()
        assert split.targets is not None
        return self.dataset.normalise(split.inputs), split.targets

    def validation(self, network: Network) -> float:
        """Accuracy of the exported file on validation."""
        return self.deployer.quality(self.deployer.export(network), self.dataset.validation, "validation").value

    def file(self, key: str) -> Path:
        """Where the file of a row is kept for the independent timing."""
        return self.rows.path.parent / "files" / f"{key.replace('/', '_').replace(' ', '_')}.onnx"


@dataclass(frozen=True, slots=True)
class Arm:
    """A rival's network, to be fine-tuned for so many steps (0: as it is), exported, timed and scored under a key.

    `peak` is the rate of its schedule; 0 has it found. One that is `validated` has its accuracy on validation too.
    """

    key: str
    network: Network
    seed: int
    steps: int
    peak: float = 0.0
    validated: bool = False


def measured(bench: Bench, arms: Sequence[Arm], teacher: str) -> None:
    """Trains, exports, times and scores every arm that has no row yet; arms of one network are trained once."""
    missing = [a for a in arms if a.key not in bench.rows.rows]
    if not missing:
        return
    same = {a.key: f"{a.network.digest()} {a.seed} {a.steps} {a.peak} {teacher}" for a in missing}
    jobs = {same[a.key]: Job(same[a.key], a.network, Schedule(a.steps, a.peak), a.seed) for a in missing if a.steps}
    new = [job for name, job in jobs.items() if name not in bench.trained]
    for d in run_jobs(new, bench.dataset, bench.teacher(teacher)) if new else ():
        bench.trained[d.name] = d
    done = {key: bench.trained[job] for key, job in same.items() if job in jobs}
    artifacts = [
        bench.deployer.export(Network(a.network.graph, done[a.key].network.weights) if a.key in done else a.network)
        for a in missing
    ]
    latencies = bench.deployer.latency(artifacts, "final")
    for a, artifact, latency in zip(missing, artifacts, latencies, strict=True):
        found = {
            "ms": latency.value, "steps": a.steps, "cpu_s": done[a.key].cpu_s if a.key in done else 0.0,
            "peak": done[a.key].peak if a.key in done else 0.0,
        }  # fmt: skip
        if a.validated:
            found["validation"] = bench.deployer.quality(artifact, bench.dataset.validation, "validation").value
        scored(bench, a.key, a.seed, artifact.data, found)


def scored(bench: Bench, key: str, seed: int, file: bytes, found: dict[str, Any]) -> None:
    """Records a row: what was found, and the file's answers on the test part, read by a session of its own."""
    session = plain_session(file, exact=bench.exact)
    x, targets = bench.test
    answers = np.concatenate([session.run(None, {"input": x[i : i + 1]})[0] for i in range(len(x))]).argmax(1)
    right = answers == targets
    bench.file(key).parent.mkdir(parents=True, exist_ok=True)
    bench.file(key).write_bytes(file)
    row = {"accuracy": float(right.mean()), "mb": len(file) / 1e6, "seed": seed, **found}
    bench.rows.get(key, lambda: {**row, "right": np.packbits(right).tobytes().hex()})


def plain_session(file: bytes | str, *, exact: bool = False) -> ort.InferenceSession:
    """The runtime as anyone would use it, on one thread: nothing of the device's worker. `exact`: see `Bench`."""
    options = ort.SessionOptions()
    if exact:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def ours(
    bench: Bench,
    run: str,
    names: Sequence[str],
    budgets: dict[str, float],
    seed: int,
    *,
    train: bool = True,
    starts: int | None = None,
    one_by_one: bool = False,
) -> None:
    """The recipe itself, from these models under these budgets (key: ms), its finals recorded as `<key>/<seed>`.

    The run's CPU seconds, all processes from start to end, are shared equally among its budgets. `one_by_one`: the
    first budget is a run of its own, and each other one another pass over it, with what that pass took.
    """
    passes = [{tag: ms} for tag, ms in budgets.items()] if one_by_one else [budgets]
    missing = [part for part in passes if any(f"{tag}/{seed}" not in bench.rows.rows for tag in part)]
    if not missing:
        return
    folder = bench.rows.path.parent / "runs" / f"{run}-{seed}"
    if missing == passes:
        shutil.rmtree(folder, ignore_errors=True)  # a run that was cut off has lost count of its CPU seconds
    with Store.open_or_create(folder, {"run": run, "seed": seed}) as store:
        for part in missing:
            if store.finished:
                forget(store, training=False)
            limits = tuple((Limit("latency_ms", ms),) for ms in part.values())
            settings = Settings(limits, train, bench.epochs, starts=starts or len(names), baselines=False, seed=seed)
            began = cpu_seconds()
            finals = fit([bench.entries[name] for name in names], bench.dataset, [bench.timing.device], settings, store,
                         bench.memory, Deadline.never(), _told)  # fmt: skip
            cpu_s = (cpu_seconds() - began) / len(part)
            by_budget = {t.labels["budget"]: t for t in finals}
            for (tag, ms), limit in zip(part.items(), limits, strict=True):
                if (trial := by_budget.get(str(limit[0]))) is not None:
                    scored(bench, f"{tag}/{seed}", seed, store.blob(trial.labels["blob"]), _found(trial, ms, cpu_s))


def _told(phase: str, detail: str) -> None:
    print(f"    {phase}: {detail}", flush=True)


def _found(trial: Trial, budget_ms: float, cpu_s: float) -> dict[str, Any]:
    values = {(m.metric, m.provenance): m.value for m in trial.measurements}
    latency = trial.measured("latency_ms")
    found = {
        "model": trial.labels["model"], "edits": trial.candidate.values["edits"], "budget_ms": budget_ms,
        "ms": latency.value, "predicted_ms": values.get(("latency_ms", "predicted")),
        "validation": next(m.value for m in trial.measurements if m.where == "validation"), "cpu_s": cpu_s,
    }  # fmt: skip
    simulated = latency.provenance == "simulated"
    return found | ({"design": dict(latency.details)} if simulated else {})


def graph_of(bench: Bench, row: dict[str, Any]) -> Graph:
    """The architecture of a final of ours."""
    return on_graph.apply(bench.entries[row["model"]].network.graph, from_plain(row["edits"]))


def fresh(graph: Graph, seed: int) -> Network:
    """The architecture with newly drawn weights, those of pruned kernels within their patterns."""
    torch.manual_seed(seed)
    net = build(Network(graph, random_weights(graph, np.random.default_rng(seed))))
    for m in net.modules():
        if hasattr(m, "reset_parameters"):
            m.reset_parameters()
    made = net.network()
    weights = dict(made.weights)
    for o in graph:
        if patterns := patterns_of(o):
            array = o.array("weight")
            weights[array] = np.where(kept(weights[array], patterns), weights[array], np.float32(0))
    return Network(graph, weights)


def cpu_seconds() -> float:
    """CPU seconds of this process, of its living descendants and of those that ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            used[int(entry.name)] = sum(map(int, fields[11:15])) / ticks  # own and waited-for children's
    total, stack = 0.0, [os.getpid()]
    while stack:
        pid = stack.pop()
        total += used.get(pid, 0.0)
        stack += children.get(pid, [])
    return total
