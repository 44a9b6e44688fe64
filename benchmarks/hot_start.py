"""The main job against its rivals: accuracy of exported files at equal measured latency.

    python benchmarks/hot_start.py [--quick] [--json] [--full]

Every arm at a budget has the same rounding of widths, the same fine-tune (distillation from the same stored logits,
same batches, rate searched), the better of fp32 and int8, and is bisected to the same measured milliseconds. Test
accuracy is of the exported file. Seeds vary search and fine-tune; the starting weights are trained once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import Reached, best_reaching, bisected, faster, pruner
from harness import Rows, Target, arguments, at_least, at_most, finish, table
from scipy.stats import spearmanr

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Artifact, Limit
from chipfit.data import fashion_mnist
from chipfit.data.load import load_data
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.price import random_assignment
from chipfit.evaluate.start import Start, open_start
from chipfit.evaluate.timing import Timing
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.nets.zoo import BUILDERS, Entry
from chipfit.recipes.designs import designed
from chipfit.search.assign import assign
from chipfit.search.uniform import uniform_width
from chipfit.space import edits as on_graph
from chipfit.space.menu import Assignment, Menu
from chipfit.store.memory import MeasurementTable
from chipfit.train.distill import teach
from chipfit.train.jobs import Job, run_jobs
from chipfit.train.loop import Schedule, Views

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
FASHION_BUDGETS = (0.50, 0.30, 0.20, 0.12)
FASHION_STEPS, CIFAR_STEPS = 1400, 700
TEACHER = "resnet20"


@dataclass
class Bench:
    """One data set on one device, with what its arms share."""

    name: str
    dataset: Dataset
    entries: dict[str, Entry]
    deployer: Deployer
    rows: Rows
    steps: int
    views: Views | None = None
    starts: dict[str, Start] | None = None
    cpu_s: float = 0.0

    @property
    def timing(self) -> Timing:
        return self.deployer.timing

    def start(self, name: str) -> Start:
        """The opened menu of an entry, made once; its CPU seconds are counted for our arms."""
        self.starts = self.starts or {}
        if name not in self.starts:
            began = time.process_time()
            self.starts[name] = open_start(self.entries[name], self.dataset, self.timing)
            self.cpu_s += time.process_time() - began
        return self.starts[name]

    def teacher(self, name: str) -> Views:
        """Stored logits of the teacher, made once."""
        if self.views is None:
            torch.set_num_threads(os.cpu_count() or 1)
            self.views = teach(build(self.entries[name].network), self.dataset, 4)
        return self.views


@dataclass(frozen=True, slots=True)
class Arm:
    """A network to be tuned (or not), scored and timed under one key."""

    key: str
    network: Network
    seed: int
    steps: int
    predicted_ms: float = float("nan")


def measured(bench: Bench, arms: Sequence[Arm], teacher: str) -> None:
    """Trains, exports, times and scores every arm that has no row yet."""
    missing = [a for a in arms if a.key not in bench.rows.rows]
    if not missing:
        return
    trained = {a.key: (a.network, 0.0) for a in missing}
    jobs = [Job(a.key, a.network, Schedule(a.steps, 0.0), a.seed) for a in missing if a.steps]
    if jobs:
        done = run_jobs(jobs, bench.dataset, bench.teacher(teacher))
        for a, d in zip([a for a in missing if a.steps], done, strict=True):
            trained[a.key] = (Network(a.network.graph, d.network.weights), d.cpu_s)
    artifacts = [bench.deployer.export(trained[a.key][0]) for a in missing]
    latencies = bench.deployer.latency(artifacts, "final")
    test = bench.dataset.open_test()
    for a, artifact, latency in zip(missing, artifacts, latencies, strict=True):
        logits = bench.timing.device.run(artifact, bench.dataset.normalise(test.inputs))
        right = logits.argmax(1) == test.targets
        _keep(bench, a.key, artifact)
        bench.rows.get(
            a.key,
            lambda right=right, a=a, latency=latency, artifact=artifact: {
                "accuracy": float(right.mean()), "ms": latency.value, "predicted_ms": a.predicted_ms,
                "mb": artifact.size_mb, "cpu_s": trained[a.key][1], "seed": a.seed, "steps": a.steps,
                "right": np.packbits(right).tobytes().hex(),
            },
        )  # fmt: skip


def _keep(bench: Bench, key: str, artifact: Artifact) -> None:
    """Files of our finals stay, for the independent timing."""
    folder = bench.rows.path.parent / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key.replace('/', '_').replace(' ', '_')}.onnx").write_bytes(artifact.data)


# --- Fashion-MNIST ---------------------------------------------------------------------------------------------------


def fashion(rows: Rows, memory: MeasurementTable, device: OnnxRuntime, seeds: Sequence[int]) -> Bench:
    """All arms at all budgets."""
    dataset = fashion_mnist.load()
    entries = {e.name: e for e in load_models(["zoo:fashion-mnist"])}
    timing = Timing(device, memory)
    bench = Bench("fashion", dataset, entries, Deployer(timing, dataset), rows, FASHION_STEPS)
    reference, ms = faster(entries[TEACHER].network, timing)
    rows.get("fashion/reference", lambda: {"ms": ms, "what": "ResNet20, the better of fp32 and all-int8"})
    ms = rows.rows["fashion/reference"]["ms"]
    for seed in seeds:
        measured(bench, [Arm(f"fashion/resnet20 tuned/{seed}", reference, seed, bench.steps)], TEACHER)
        for share in FASHION_BUDGETS:
            _fashion_budget(bench, share, share * ms, seed)
    return bench


def _fashion_budget(bench: Bench, share: float, budget_ms: float, seed: int) -> None:
    tag = f"fashion/{share:.0%}"
    limits = [Limit("latency_ms", budget_ms)]
    arms: list[Arm] = []
    ours = _ours(bench, limits, seed, f"{tag}/ours", ("resnet20", "vgg6", "resnet8", "lenet5"))
    arms += ours
    plain = _unmodified(bench, budget_ms)
    if plain is not None:
        name, network = plain
        arms.append(Arm(f"{tag}/unmodified plain ({name})/0", network, 0, 0))
        arms.append(Arm(f"{tag}/unmodified tuned ({name})/{seed}", network, seed, bench.steps))
    for rival in ("uniform", "l2", "taylor"):
        key = f"{tag}/{rival}"
        found = _rival(bench, rival, budget_ms)
        if found is None:
            bench.rows.get(f"{key}/none", lambda: {"note": "no zoo model reaches the budget this way"})
        else:
            name, reached = found
            arms.append(Arm(f"{key} ({name})/{seed}", reached.network, seed, bench.steps))
    measured(bench, arms, TEACHER)
    _scratch(bench, tag, ours, seed)


def _ours(bench: Bench, limits: Sequence[Limit], seed: int, tag: str, names: Sequence[str]) -> list[Arm]:
    """Designs from every start; the one that validates best after a short schedule goes on."""
    if f"{tag}/{seed}" in bench.rows.rows:
        return []
    began = time.process_time()
    rivals = []
    for name in names:
        try:
            start = bench.start(name)
            design = designed(start, limits, bench.timing, seed, Deadline.never())
        except Infeasible:
            continue
        rivals.append((name, start, design, start.repaired(design.assignment)))
    jobs = [Job(name, network, Schedule(int(0.3 * bench.steps), 0.0), seed) for name, _, _, network in rivals]
    short = run_jobs(
        jobs, bench.dataset, bench.teacher(next(iter(bench.entries)) if TEACHER not in bench.entries else TEACHER)
    )
    scores = [_validation(bench, Network(n.graph, d.network.weights)) for (*_, n), d in zip(rivals, short, strict=True)]
    best = int(np.argmax(scores))
    name, start, design, network = rivals[best]
    bench.rows.get(
        f"{tag}/choice/{seed}",
        lambda: {
            "start": name, "assignment": list(design.assignment), "labels": start.menu.labels(design.assignment),
            "scores": dict(zip([r[0] for r in rivals], scores, strict=True)),
            "cpu_s": time.process_time() - began + sum(d.cpu_s for d in short),
        },
    )  # fmt: skip
    trained = Network(network.graph, short[best].network.weights)
    return [
        Arm(f"{tag}/{seed}", trained, seed + 100, int(0.7 * bench.steps), design.predicted_ms),
        Arm(f"{tag} untrained/{seed}", network, seed, 0, design.predicted_ms),
    ]


def _validation(bench: Bench, network: Network) -> float:
    artifact = bench.deployer.export(network)
    return bench.deployer.accuracy(artifact, bench.dataset.validation, "validation").value


def _unmodified(bench: Bench, budget_ms: float) -> tuple[str, Network] | None:
    """The untouched model (either precision) under the budget that validates best."""
    found = []
    for name, entry in bench.entries.items():
        network, ms = faster(entry.network, bench.timing)
        if ms <= budget_ms:
            found.append((_validation(bench, network), name, network))
    return max(found, key=lambda f: f[0])[1:] if found else None


def _rival(bench: Bench, rival: str, budget_ms: float) -> tuple[str, Reached] | None:
    """The rival's network from the most accurate zoo model that it can bring under the budget."""
    order = [n for n in ("resnet20", "vgg6", "resnet8", "lenet5", "mobilenetv2", "dscnn") if n in bench.entries]
    shape = bench.dataset.input_shape

    def reach(name: str) -> Reached | None:
        if rival == "uniform":
            return uniform(bench, name, budget_ms)
        module = BUILDERS[name]()
        _load(module, bench.entries[name])
        return bisected(pruner(module.eval(), shape, bench.dataset, rival), budget_ms, bench.timing)

    return best_reaching([(name, lambda name=name: reach(name)) for name in order])


def _load(module: torch.nn.Module, entry: Entry) -> None:
    state = {k: torch.from_numpy(v.copy()) for k, v in entry.network.weights.items()}
    module.load_state_dict(state, strict=False)


def uniform(bench: Bench, name: str, budget_ms: float, bits: Sequence[int] = (32, 8)) -> Reached | None:
    """Every width by one factor, repaired as ours are, in the precision that keeps more of it."""
    start = bench.start(name)
    best: tuple[float, Assignment] | None = None
    for b in bits:
        scale = 1.0
        for _ in range(6):
            a = uniform_width(start.menu, [Limit("latency_ms", budget_ms * scale)], b)
            if a is None:
                break
            ms = bench.timing.graphs([on_graph.apply(start.entry.network.graph, start.menu.edits(a))], "quick")[0].value
            if ms <= budget_ms:
                damage = start.menu.total("damage", a)
                best = min(best, (damage, a)) if best else (damage, a)
                break
            scale *= budget_ms / ms * 0.995
    if best is None:
        return None
    network = start.repaired(best[1])
    return Reached(network, bench.timing.graphs([network.graph], "quick")[0].value, "one factor")


def _scratch(bench: Bench, tag: str, ours: Sequence[Arm], seed: int) -> None:
    """Our final architecture from random weights, for as many CPU seconds as ours took from start to end."""
    key = f"{tag}/scratch/{seed}"
    if key in bench.rows.rows or not ours:
        return
    choice, final = bench.rows.rows[f"{tag}/ours/choice/{seed}"], bench.rows.rows[f"{tag}/ours/{seed}"]
    per_step = final["cpu_s"] / max(1, final["steps"])
    steps = int((choice["cpu_s"] + final["cpu_s"]) / per_step)
    torch.manual_seed(seed)
    fresh = build(ours[0].network)
    for m in fresh.modules():
        if hasattr(m, "reset_parameters"):
            m.reset_parameters()
    measured(bench, [Arm(key, fresh.network(), seed, steps)], TEACHER)


# --- CIFAR (JPEG) ----------------------------------------------------------------------------------------------------


def cifar(rows: Rows, memory: MeasurementTable, device: OnnxRuntime, seeds: Sequence[int]) -> Bench | None:
    """The published ResNet-20 and ResNet-56; every reference is fine-tuned as ours is."""
    if not SHARED.is_dir():
        print("CIFAR rows need ../shared/data, which is absent: skipped")
        return None
    model = Path(__file__).resolve().parents[1] / "tests" / "models" / "cifar_resnet.py"
    means, stds = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    dataset = load_data(str(SHARED / "cifar10_jpeg.zip"), normalize=(means, stds))
    files = [SHARED / "cifar_resnet" / f"resnet{d}.safetensors" for d in (20, 56)]
    entries = load_models([f"{model}:resnet20", f"{model}:resnet56"], weights=files, dataset=dataset)
    named = {"resnet20": entries[0], "resnet56": replace(entries[1], name="resnet56")}
    named["resnet20"] = replace(named["resnet20"], name="resnet20")
    timing = Timing(device, memory)
    bench = Bench("cifar", dataset, named, Deployer(timing, dataset), rows, CIFAR_STEPS)
    _, ms20 = faster(named["resnet20"].network, timing)
    tall, ms56 = faster(named["resnet56"].network, timing)
    ms20, ms56 = (rows.get(f"cifar/reference {n}", lambda m=m: {"ms": m})["ms"] for n, m in ((20, ms20), (56, ms56)))
    for seed in seeds:
        arms = [Arm(f"cifar/resnet56 tuned/{seed}", tall, seed, bench.steps)]
        for share in (0.50, 0.25):
            arms += _ours(
                bench, [Limit("latency_ms", share * ms56)], seed, f"cifar/56 {share:.0%}/ours", ("resnet20", "resnet56")
            )
        if (narrow := uniform(bench, "resnet20", 0.25 * ms56)) is not None:
            arms.append(Arm(f"cifar/56 25%/uniform resnet20/{seed}", narrow.network, seed, bench.steps))
        for share in (0.35, 0.50):
            tag, budget = f"cifar/20 {share:.0%}", share * ms20
            arms += _ours(bench, [Limit("latency_ms", budget)], seed, f"{tag}/ours", ("resnet20",))
            if (narrow := uniform(bench, "resnet20", budget)) is not None:
                arms.append(Arm(f"{tag}/uniform/{seed}", narrow.network, seed, bench.steps))
            else:
                rows.get(f"{tag}/uniform/none", lambda: {"note": "no uniform width reaches the budget"})
            if share == 0.35:
                shallow = _depth_only(bench, budget)
                if shallow is None:
                    rows.get(f"{tag}/depth/none", lambda: {"note": "dropping blocks alone does not reach the budget"})
                else:
                    arms.append(Arm(f"{tag}/depth/{seed}", shallow, seed, bench.steps))
        measured(bench, arms, "resnet56")
    return bench


def _depth_only(bench: Bench, budget_ms: float) -> Network | None:
    """The exact optimum over dropped blocks alone, in each precision; the less damaged one that holds when measured."""
    start = bench.start("resnet20")
    best: tuple[float, Network] | None = None
    for bits in (32, 8):
        menu = _restricted(start.menu, bits)
        scale = 1.0
        for _ in range(6):
            try:
                a = assign(menu, [Limit("latency_ms", budget_ms * scale)])
            except Infeasible:
                break
            network = start.repaired(_as_full(start.menu, menu, a))
            ms = bench.timing.graphs([network.graph], "quick")[0].value
            if ms <= budget_ms:
                damage = menu.total("damage", a)
                best = (damage, network) if best is None or damage < best[0] else best
                break
            scale *= budget_ms / ms * 0.995
    return best[1] if best else None


def _restricted(menu: Menu, bits: int) -> Menu:
    """The menu with widths as they are or dropped, and one precision."""
    kept = [_allowed(d, bits) for d in menu.decisions]
    decisions = tuple(
        replace(d, options=tuple(d.options[o] for o in k)) for d, k in zip(menu.decisions, kept, strict=True)
    )
    terms = tuple(replace(t, table=t.table[np.ix_(*(kept[d] for d in t.on))] if t.on else t.table) for t in menu.terms)
    return replace(menu, decisions=decisions, terms=terms, ties=())


def _allowed(decision: Any, bits: int) -> list[int]:
    if decision.kind == "precision":
        return [i for i, o in enumerate(decision.options) if o.value == bits]
    return [0] + [i for i, o in enumerate(decision.options) if o.value == 0]


def _as_full(full: Menu, part: Menu, a: Assignment) -> Assignment:
    labels = [d.options[o].label for d, o in zip(part.decisions, a, strict=True)]
    return tuple(
        next(i for i, o in enumerate(d.options) if o.label == label)
        for d, label in zip(full.decisions, labels, strict=True)
    )


# --- claims about prices, damage and solvers -------------------------------------------------------------------------


def claims(fashion_bench: Bench, cifar_bench: Bench | None) -> None:
    """Tables against whole networks, additivity, seconds of the solver, of the profile and of a second budget."""
    rows, timing = fashion_bench.rows, fashion_bench.timing
    rows.get("claims/table", lambda: _table_row(fashion_bench.start("resnet20"), timing))
    rows.get("claims/additive", lambda: _additive_row(fashion_bench.start("resnet20")))
    if cifar_bench is None:
        return
    rows.get("claims/assign", lambda: _assign_row(cifar_bench))
    rows.get("claims/profile", lambda: _profile_row(cifar_bench))
    rows.get("claims/stitched", lambda: _stitched_row(cifar_bench))


def _table_row(start: Start, timing: Timing) -> dict[str, Any]:
    rng, menu, graph = np.random.default_rng(7), start.menu, start.entry.network.graph
    assignments = [random_assignment(menu, rng) for _ in range(48)]
    graphs = [on_graph.apply(graph, menu.edits(a)) for a in assignments]
    true = np.array([m.value for m in timing.graphs(graphs, "final")])
    told = np.array([menu.total("latency_ms", a) for a in assignments])
    macs = np.array([g.total_macs for g in graphs], float)
    dense = menu.total("latency_ms", menu.as_is)
    single = np.array([dense - sum(_saving(menu, i, o, dense) for i, o in enumerate(a) if o) for a in assignments])
    by_macs = macs * np.median(true / macs)
    return {
        "mape": _mape(told, true), "max": float(np.max(np.abs(told - true) / true)),
        "spearman": float(spearmanr(told, true)[0]),
        "mape_macs": _mape(by_macs, true), "spearman_macs": float(spearmanr(macs, true)[0]),
        "mape_single": _mape(single, true), "spearman_single": float(spearmanr(single, true)[0]),
    }  # fmt: skip


def _saving(menu: Menu, decision: int, option: int, dense: float) -> float:
    a = [0] * len(menu.decisions)
    a[decision] = option
    return dense - menu.total("latency_ms", tuple(a))


def _mape(told: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(np.abs(told - true) / true))


def _additive_row(start: Start) -> dict[str, Any]:
    predicted, true = start.additivity(np.random.default_rng(3), 48)
    return {
        "spearman": float(spearmanr(predicted, true)[0]),
        "n": len(true),
        "ratio": float(np.median(true / np.maximum(predicted, 1e-9))),
    }


def _assign_row(bench: Bench) -> dict[str, Any]:
    seconds = {}
    for name in ("resnet20", "resnet56"):
        menu = bench.start(name).menu
        dense = menu.total("latency_ms", menu.as_is)
        took = []
        for share in (0.15, 0.25, 0.35, 0.5):
            began = time.perf_counter()
            try:
                assign(menu, [Limit("latency_ms", share * dense)])
            except Infeasible:
                continue
            took.append(time.perf_counter() - began)
        seconds[f"{name}_s"] = max(took)
    return seconds


def _profile_row(bench: Bench) -> dict[str, Any]:
    """The whole database of ResNet-20 anew, and a second budget on it up to the fine-tune."""
    began = time.process_time()
    start = open_start(bench.entries["resnet20"], bench.dataset, bench.timing, bits=(32,))
    profile_s = time.process_time() - began
    ms = start.menu.total("latency_ms", start.menu.as_is)
    began = time.perf_counter()
    design = designed(start, [Limit("latency_ms", 0.4 * ms)], bench.timing, 0, Deadline.never())
    start.repaired(design.assignment)
    return {"profile_cpu_s": profile_s, "second_budget_s": time.perf_counter() - began}


def _stitched_row(bench: Bench) -> dict[str, Any]:
    """Every inner width of ResNet-20 halved, compensated and repaired: no label, no gradient."""
    start = bench.start("resnet20")
    menu = start.menu
    inner = {n for names in start.offer.inner.values() for n in names}
    a = tuple(
        next(i for i, o in enumerate(d.options) if o.value == d.options[0].value // 2) if d.name in inner else 0
        for d in menu.decisions
    )
    test = bench.dataset.open_test()
    x = torch.from_numpy(bench.dataset.normalise(test.inputs))
    with torch.inference_mode():
        halves = {
            n: build(w)(x).argmax(1).numpy()
            for n, w in (("stitched", start.stitched(a)), ("repaired", start.repaired(a)))
        }
    return {n: float((got == test.targets).mean()) for n, got in halves.items()}


def retimed(bench: Bench, keys: Sequence[str], reference_ms: float, reference: Artifact) -> dict[str, float]:
    """Each kept file against the reference file in a plain loop of its own: run by run, medians, no canary."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    x = {"input": np.random.default_rng(0).standard_normal((1, *bench.dataset.input_shape), np.float32)}
    base = ort.InferenceSession(reference.data, options)
    found = {}
    for key in keys:
        file = bench.rows.path.parent / "files" / f"{key.replace('/', '_').replace(' ', '_')}.onnx"
        session = ort.InferenceSession(str(file), options)
        ratios = []
        for _ in range(7):
            marks = []
            for s in [base, session] * 300:
                at = time.perf_counter_ns()
                s.run(None, x)
                marks.append(time.perf_counter_ns() - at)
            ratios.append(np.median(marks[101::2]) / np.median(marks[100::2]))
        found[key] = float(np.median(ratios)) * reference_ms
    return found


# --- targets ---------------------------------------------------------------------------------------------------------


def accuracy(rows: Rows, tag: str, seeds: Sequence[int]) -> list[float]:
    """Test accuracies of an arm (a key up to its seed; a start in brackets is ignored), in points."""
    found = []
    for seed in seeds:
        hits = [
            r
            for k, r in rows.rows.items()
            if (k.startswith(f"{tag}/") or k.startswith(f"{tag} (")) and k.endswith(f"/{seed}") and "choice" not in k
        ]
        found += [100 * r["accuracy"] for r in hits if "accuracy" in r]
    return found


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None where there is nothing."""
    return float(np.mean(values)) if values else None


def fashion_targets(rows: Rows, seeds: Sequence[int]) -> list[Target]:
    """Gains over the rivals, mean over budgets that the rival reaches."""
    unmodified, pruners, scratch = [], [], []
    lines = []
    for share in FASHION_BUDGETS:
        tag = f"fashion/{share:.0%}"
        ours = mean(accuracy(rows, f"{tag}/ours", seeds))
        arms = {
            n: mean(accuracy(rows, f"{tag}/{n}", seeds))
            for n in ("unmodified tuned", "uniform", "l2", "taylor", "scratch")
        }
        arms["unmodified plain"] = mean(accuracy(rows, f"{tag}/unmodified plain", [0]))
        arms["ours untrained"] = mean(accuracy(rows, f"{tag}/ours untrained", seeds))
        lines.append((f"{share:.0%}", ours, *(arms[n] for n in _COLUMNS)))
        if ours is None:
            continue
        best = [v for n in ("unmodified plain", "unmodified tuned") if (v := arms[n]) is not None]
        unmodified += [ours - max(best)] if best else []
        best = [v for n in ("l2", "taylor") if (v := arms[n]) is not None]
        pruners += [ours - max(best)] if best else []
        scratch += [ours - arms["scratch"]] if arms["scratch"] is not None else []
    print("\nFashion-MNIST, test accuracy of the exported file in points, mean over seeds (blank: out of reach)")
    table(("budget", "ours", *_COLUMNS), [["" if c is None else c for c in line] for line in lines])
    tuned, half = mean(accuracy(rows, "fashion/resnet20 tuned", seeds)), mean(accuracy(rows, "fashion/50%/ours", seeds))
    return [
        at_least("gain_unmodified", mean(unmodified), 0.5),
        at_least("gain_pruners", mean(pruners), 0.3),
        at_least("worst_vs_pruners", min(pruners) if pruners else None, -0.3),
        at_least("gain_scratch", mean(scratch), 0.3),
        at_most("drop_50", tuned - half if tuned and half else None, 0.3),
    ]


_COLUMNS = ("unmodified plain", "unmodified tuned", "uniform", "l2", "taylor", "scratch", "ours untrained")


def cifar_targets(rows: Rows, seeds: Sequence[int]) -> list[Target]:
    """Drops and gains on the CIFAR JPEGs."""
    get = lambda tag: mean(accuracy(rows, f"cifar/{tag}", seeds))  # noqa: E731
    names = ("resnet56 tuned", "56 50%/ours", "56 25%/ours", "56 25%/uniform resnet20", "20 35%/ours", "20 35%/uniform",
             "20 35%/depth", "20 50%/ours", "20 50%/uniform")  # fmt: skip
    values = {n: get(n) for n in names}
    print(
        "\nCIFAR (JPEG), test accuracy of the exported file in points, mean over seeds (blank: cannot reach the budget)"
    )
    table(
        ("arm", "accuracy", "spread"),
        [
            (n, "" if v is None else v, float(np.ptp(accuracy(rows, f"cifar/{n}", seeds) or [0])))
            for n, v in values.items()
        ],
    )

    def less(a: str, b: str) -> float | None:
        x, y = values[a], values[b]
        return None if x is None or y is None else x - y

    rivals = [v for n in ("20 35%/uniform", "20 35%/depth") if (v := less("20 35%/ours", n)) is not None]
    return [
        at_most("cifar_drop_50", less("resnet56 tuned", "56 50%/ours"), 1.0),
        at_least("cifar_gain_25", less("56 25%/ours", "56 25%/uniform resnet20"), 3.0),
        at_least("gain_uniform_35", min(rivals) if rivals else None, 8.0),
        at_least("tie_50", less("20 50%/ours", "20 50%/uniform"), 0.0),
    ]


def claim_targets(rows: Rows) -> list[Target]:
    """Prices, damage, solver, honesty."""
    row = lambda key: rows.rows.get(f"claims/{key}", {})  # noqa: E731
    finals = [r for k, r in rows.rows.items() if "/ours/" in k and "choice" not in k and "accuracy" in r]
    errors = [abs(r["predicted_ms"] - r["ms"]) / r["ms"] for r in finals]
    over = row("retimed").get("over")
    return [
        at_least("stitched_50", row("stitched").get("repaired"), 0.70),
        at_most("profile_cpu_s", row("profile").get("profile_cpu_s"), 60),
        at_least("cold_ratio", rows.rows.get("cold/ratio", {}).get("ratio"), 10),
        at_least("additive_spearman", row("additive").get("spearman"), 0.9),
        at_most("second_budget_s", row("profile").get("second_budget_s"), 60),
        at_most("over_budget", over, 0),
        at_most("predicted_error_median", float(np.median(errors)) if errors else None, 0.03),
        at_most("table_mape", row("table").get("mape"), 0.03),
        at_least("table_spearman", row("table").get("spearman"), 0.98),
        at_most("assign_s", row("assign").get("resnet20_s"), 1.0),
        at_most("assign_56_s", row("assign").get("resnet56_s"), 10.0),
    ]


def honesty(bench: Bench, prefix: str, budgets: dict[str, float], reference_ms: float, reference: Artifact) -> int:
    """How many of our finals miss their budget by more than 2 % in the plain loop."""
    keys = [
        k
        for k, r in bench.rows.rows.items()
        if k.startswith(prefix) and "/ours/" in k and "choice" not in k and "accuracy" in r
    ]
    again = retimed(bench, keys, reference_ms, reference)
    over = 0
    for key, ms in again.items():
        budget = next(b for tag, b in budgets.items() if key.startswith(tag))
        print(f"  plain loop: {key} {ms:.4f} ms, budget {budget:.4f}")
        over += ms > 1.02 * budget
    return over


def main() -> None:
    """Runs what is asked for, prints tables and targets."""
    options = arguments(__doc__ or "")
    seeds = SEEDS[:1] if options.quick else SEEDS[: options.seeds]
    rows = Rows("hot_start_quick" if options.quick else "hot_start", full=options.full)
    memory = MeasurementTable.open(Path(tempfile.gettempdir()) / "chipfit-bench" / "measurements.db")
    with OnnxRuntime() as device:
        if options.quick:
            global FASHION_BUDGETS, FASHION_STEPS
            FASHION_BUDGETS, FASHION_STEPS = (0.50,), 60
            bench = fashion(rows, memory, device, seeds)
            rows.get("claims/table", lambda: _table_row(bench.start("resnet20"), bench.timing))
        else:
            bench = fashion(rows, memory, device, seeds)
            second = cifar(rows, memory, device, seeds)
            claims(bench, second)
            rows.get("claims/retimed", lambda: {"over": _all_honest(bench, second)})
    targets = [*fashion_targets(rows, seeds), *cifar_targets(rows, seeds), *claim_targets(rows)]
    finish("hot_start", rows, targets, as_json=options.json)


def _all_honest(bench: Bench, second: Bench | None) -> int:
    ms = bench.rows.rows["fashion/reference"]["ms"]
    file = bench.deployer.export(faster(bench.entries[TEACHER].network, bench.timing)[0])
    over = honesty(bench, "fashion/", {f"fashion/{s:.0%}": s * ms for s in FASHION_BUDGETS}, ms, file)
    if second is not None:
        for n in (56, 20):
            ms = bench.rows.rows[f"cifar/reference {n}"]["ms"]
            file = second.deployer.export(faster(second.entries[f"resnet{n}"].network, second.timing)[0])
            over += honesty(second, f"cifar/{n} ", {f"cifar/{n} {s:.0%}": s * ms for s in (0.5, 0.35, 0.25)}, ms, file)
    return over


if __name__ == "__main__":
    sys.exit(main())
