"""The main job against its rivals: accuracy of exported files at equal measured latency.

    python benchmarks/hot_start.py [--quick] [--here] [--json] [--full]

"Ours" is the recipe itself. Every rival at a budget has the same rounding of widths, the same fine-tune (distillation
from the same stored logits, as many steps, rate found the same way), the better of fp32 and int8, and is bisected to
the same measured milliseconds. Test accuracy is of the exported file. Seeds vary search and fine-tune; the starting
weights are trained once.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from arms import bisected, depth_only, faster, pruner, uniform
from bench import Arm, Bench, fresh, graph_of, measured, ours
from cifar import cifar_networks
from claims import claims, over_budget
from cold import cold_start
from harness import Rows, Target, arguments, at_least, at_most, finish, paired_interval, table

from chipfit.core.graph import Network
from chipfit.data import fashion_mnist
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import timing_bytes
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.nets.zoo import BUILDERS, Entry
from chipfit.store.memory import MeasurementTable
from chipfit.train.jobs import seconds_per_step
from chipfit.train.loop import accuracy

SEEDS = (0, 1, 2)
FASHION_BUDGETS = (0.50, 0.30, 0.20, 0.12)
FASHION_EPOCHS, CIFAR_EPOCHS = 4.0, 12.0
HERE_EPOCHS = 1.0
HERE_MODELS = ("resnet20", "resnet8", "vgg6")
COLD_BUDGET = 0.30
COLD_CAP_S, COLD_RATIO = 3600.0, 11.0
"""The cold start ends at so many CPU seconds, or at so many times ours: what it would take is then beyond the claim."""
TEACHER = "resnet20"
RIVAL_SEEDS = 1
"""Fine-tunes of a rival: its network does not depend on a seed, only its training does."""
RIVALS = ("uniform", "l2", "taylor")


# --- Fashion-MNIST ---------------------------------------------------------------------------------------------------


def fashion(rows: Rows, memory: MeasurementTable, device: OnnxRuntime, epochs: float) -> Bench:
    """The bench; its reference is timed once."""
    entries = {e.name: e for e in load_models(["zoo:fashion-mnist"])}
    bench = Bench("fashion", fashion_mnist.load(), entries, Timing(device, memory), memory, rows, epochs)
    _, ms = faster(entries[TEACHER].network, bench.timing)
    rows.get("fashion/reference", lambda: {"ms": ms, "what": "ResNet20, the better of fp32 and all-int8"})
    return bench


def fashion_ours(bench: Bench, seed: int) -> None:
    """The recipe under all budgets; without training too, where a seed varies next to nothing, once."""
    budgets = _fashion_budgets(bench)
    ours(bench, "fashion", list(bench.entries), {f"{tag}/ours": ms for tag, ms in budgets.items()}, seed)
    if seed == SEEDS[0]:
        untrained = {f"{tag}/ours untrained": ms for tag, ms in budgets.items()}
        ours(bench, "fashion untrained", list(bench.entries), untrained, seed, train=False)


def here(bench: Bench) -> None:
    """Ours, the untouched models and the pruners at one budget, from three models, after short fine-tunes."""
    bench.entries = {n: bench.entries[n] for n in HERE_MODELS}
    tag, ms = list(_fashion_budgets(bench).items())[1]
    ours(bench, "here", HERE_MODELS, {f"{tag}/ours": ms}, SEEDS[0])
    arms = _unmodified(bench, tag, ms, SEEDS[0])
    for rival in RIVALS:
        arms += _rival(bench, tag, rival, ms, SEEDS[0])
    measured(bench, arms, TEACHER)
    bench.rows.get("claims/retimed", lambda: {"over": retimed(bench, None)})


def fashion_scratch(bench: Bench, seed: int) -> None:
    """Our final architectures from random weights, for as many CPU seconds as ours took from start to end."""
    arms = []
    for tag in _fashion_budgets(bench):
        mine = bench.rows.rows.get(f"{tag}/ours/{seed}")
        if mine is None or bench.rows.has(f"{tag}/scratch", seed):
            continue
        network = fresh(graph_of(bench, mine), seed)
        steps = int(mine["cpu_s"] / seconds_per_step(network, bench.dataset, None))
        arms.append(Arm(f"{tag}/scratch/{seed}", network, seed, steps))
    measured(bench, arms, TEACHER)


def fashion_rivals(bench: Bench, seed: int) -> None:
    """Every rival at every budget, and the reference given the same fine-tune."""
    tall, _ = faster(bench.entries[TEACHER].network, bench.timing)
    arms = [Arm(f"fashion/resnet20 tuned/{seed}", tall, seed, bench.steps)]
    for tag, ms in _fashion_budgets(bench).items():
        arms += _unmodified(bench, tag, ms, seed)
        for rival in RIVALS:
            arms += _rival(bench, tag, rival, ms, seed)
        measured(bench, arms, TEACHER)
        arms = []


def _fashion_budgets(bench: Bench) -> dict[str, float]:
    reference = bench.rows.rows["fashion/reference"]["ms"]
    return {f"fashion/{share:.0%}": share * reference for share in FASHION_BUDGETS}


def _unmodified(bench: Bench, tag: str, budget_ms: float, seed: int) -> list[Arm]:
    """The untouched model (in its faster precision) under the budget that validates best, plain and fine-tuned."""
    if bench.rows.has(f"{tag}/unmodified tuned", seed):
        return []
    found = []
    for name, entry in bench.entries.items():
        network, _ = faster(entry.network, bench.timing)
        if bench.timing.graphs([network.graph], "final")[0].value <= budget_ms:
            found.append((bench.validation(network), name, network))
    if not found:
        return []
    _, name, network = max(found, key=lambda f: f[0])
    return [
        Arm(f"{tag}/unmodified plain ({name})/0", network, 0, 0),
        Arm(f"{tag}/unmodified tuned ({name})/{seed}", network, seed, bench.steps),
    ]


_CHOSEN: dict[tuple[str, str], tuple[float, str, Network] | None] = {}
"""A rival's network at a budget (its accuracy untrained, the model it came from): the same for every seed."""


def _rival(bench: Bench, tag: str, rival: str, budget_ms: float, seed: int) -> list[Arm]:
    """The rival's network: of all zoo models that it brings under the budget, the one it leaves most accurate."""
    if f"{tag}/{rival}/none" in bench.rows.rows or bench.rows.has(f"{tag}/{rival}", seed):
        return []
    shape = bench.dataset.input_shape

    def reach(name: str) -> Network | None:
        if rival == "uniform":
            return uniform(bench, name, budget_ms)
        module = BUILDERS[name]()
        _load(module, bench.entries[name])
        return bisected(pruner(module.eval(), shape, bench.dataset, rival), budget_ms, bench.timing)

    if (tag, rival) not in _CHOSEN:
        reached = {name: r for name in bench.entries if (r := reach(name)) is not None}
        scored = {name: accuracy(build(r), bench.dataset, bench.dataset.validation) for name, r in reached.items()}
        _CHOSEN[tag, rival] = max(((s, n, reached[n]) for n, s in scored.items()), default=None)
    if (chosen := _CHOSEN[tag, rival]) is None:
        bench.rows.get(f"{tag}/{rival}/none", lambda: {"note": "no zoo model reaches the budget this way"})
        return []
    return [Arm(f"{tag}/{rival} ({chosen[1]})/{seed}", chosen[2], seed, bench.steps)]


def _load(module: torch.nn.Module, entry: Entry) -> None:
    state = {k: torch.from_numpy(v.copy()) for k, v in entry.network.weights.items()}
    module.load_state_dict(state, strict=False)


# --- CIFAR (JPEG) ----------------------------------------------------------------------------------------------------


def cifar(rows: Rows, memory: MeasurementTable, device: OnnxRuntime) -> Bench | None:
    """The published ResNet-20 and ResNet-56 on the JPEGs; None where they are absent."""
    if (found := cifar_networks()) is None:
        return None
    dataset, loaded = found
    entries = {e.name: e for e in loaded}
    bench = Bench("cifar", dataset, entries, Timing(device, memory), memory, rows, CIFAR_EPOCHS)
    for n in entries:
        _, ms = faster(entries[n].network, bench.timing)
        rows.get(f"cifar/reference {n}", lambda ms=ms: {"ms": ms})
    return bench


def cifar_ours(bench: Bench, seed: int) -> None:
    """The recipe from both models and from ResNet-20 alone."""
    ms56, ms20 = (bench.rows.rows[f"cifar/reference resnet{d}"]["ms"] for d in (56, 20))
    tall = {f"cifar/56 {share:.0%}/ours": share * ms56 for share in (0.50, 0.25)}
    ours(bench, "cifar 56", ("resnet20", "resnet56"), tall, seed)
    ours(bench, "cifar 20", ("resnet20",), {f"cifar/20 {share:.0%}/ours": share * ms20 for share in (0.35, 0.50)}, seed)


def cifar_rivals(bench: Bench, seed: int) -> None:
    """Every reference, fine-tuned as ours is."""
    tags = ("resnet56 tuned", "56 25%/uniform resnet20", "20 35%/uniform", "20 50%/uniform", "20 35%/depth")
    if all(bench.rows.has(f"cifar/{t}", seed) for t in tags):
        return
    ms56, ms20 = (bench.rows.rows[f"cifar/reference resnet{d}"]["ms"] for d in (56, 20))
    tall, _ = faster(bench.entries["resnet56"].network, bench.timing)
    arms = [Arm(f"cifar/resnet56 tuned/{seed}", tall, seed, bench.steps)]
    arms += _narrow(bench, "cifar/56 25%/uniform resnet20", uniform(bench, "resnet20", 0.25 * ms56, nearest=True), seed)
    measured(bench, arms, "resnet56")
    arms = []
    for share in (0.35, 0.50):
        arms += _narrow(
            bench, f"cifar/20 {share:.0%}/uniform", uniform(bench, "resnet20", share * ms20, nearest=True), seed
        )
    arms += _narrow(bench, "cifar/20 35%/depth", depth_only(bench, 0.35 * ms20), seed)
    measured(bench, arms, "resnet20")


def _narrow(bench: Bench, tag: str, reached: Network | None, seed: int) -> list[Arm]:
    if reached is None:
        bench.rows.get(f"{tag}/none", lambda: {"note": "this way the budget is not reached"})
        return []
    return [Arm(f"{tag}/{seed}", reached, seed, bench.steps)]


# --- targets ---------------------------------------------------------------------------------------------------------


def points(rows: Rows, tag: str, seeds: Sequence[int]) -> list[float]:
    """Test accuracies of an arm, in points."""
    return [100 * r["accuracy"] for r in rows.of(tag, seeds)]


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None where there is nothing."""
    return float(np.mean(values)) if values else None


def less(a: float | None, b: float | None) -> float | None:
    """The difference of two values where both are there."""
    return None if a is None or b is None else a - b


def interval(rows: Rows, a: str, b: str, seeds: Sequence[int]) -> str:
    """The paired 95 % interval of the gain of arm a over arm b, all seeds and test inputs together; "" without both."""
    one, two = rows.of(a, seeds), rows.of(b, seeds)
    if not one or not two:
        return ""
    right = [[np.unpackbits(np.frombuffer(bytes.fromhex(r["right"]), np.uint8)) for r in arm] for arm in (one, two)]
    pairs = [(right[0][i % len(one)], right[1][i % len(two)]) for i in range(max(len(one), len(two)))]
    low, high = paired_interval(np.mean([p[0] for p in pairs], 0), np.mean([p[1] for p in pairs], 0))
    return f"{low:+.2f} {high:+.2f}"


FASHION_RIVALS = ("unmodified plain", "unmodified tuned", "uniform", "l2", "taylor", "scratch", "ours untrained")


def fashion_targets(rows: Rows, seeds: Sequence[int]) -> list[Target]:
    """Gains over the rivals, mean over the budgets that the rival reaches."""
    unmodified, pruners, scratch, lines, intervals = [], [], [], [], []
    for share in FASHION_BUDGETS:
        tag = f"fashion/{share:.0%}"
        mine = points(rows, f"{tag}/ours", seeds)
        arms = {n: mean(points(rows, f"{tag}/{n}", seeds)) for n in FASHION_RIVALS}
        ours = mean(mine)
        lines.append((f"{share:.0%}", ours, float(np.ptp(mine)) if mine else None, *arms.values()))
        intervals.append(
            (f"{share:.0%}", *(interval(rows, f"{tag}/ours", f"{tag}/{n}", seeds) for n in FASHION_RIVALS))
        )
        if ours is None:
            continue
        best = [v for n in ("unmodified plain", "unmodified tuned") if (v := arms[n]) is not None]
        unmodified += [ours - max(best)] if best else []
        best = [v for n in ("l2", "taylor") if (v := arms[n]) is not None]
        pruners += [ours - max(best)] if best else []
        scratch += [ours - arms["scratch"]] if arms["scratch"] is not None else []
    print("\nFashion-MNIST, test accuracy of the exported file in points, mean over seeds (blank: out of reach)")
    table(("budget", "ours", "spread", *FASHION_RIVALS), [["" if c is None else c for c in line] for line in lines])
    print("\nGain of ours in points, 95 % paired bootstrap interval over test inputs")
    table(("budget", *FASHION_RIVALS), intervals)
    tuned, half = mean(points(rows, "fashion/resnet20 tuned", seeds)), mean(points(rows, "fashion/50%/ours", seeds))
    print(f"\nResNet20 given the same fine-tune: {'' if tuned is None else round(tuned, 2)}")
    return [
        at_least("gain_unmodified", mean(unmodified), 0.5),
        at_least("gain_pruners", mean(pruners), 0.3),
        at_least("worst_vs_pruners", min(pruners) if pruners else None, -0.3),
        at_least("gain_scratch", mean(scratch), 0.3),
        at_most("drop_50", less(tuned, half), 0.3),
    ]


CIFAR_ARMS = ("resnet56 tuned", "56 50%/ours", "56 25%/ours", "56 25%/uniform resnet20", "20 35%/ours",
              "20 35%/uniform", "20 35%/depth", "20 50%/ours", "20 50%/uniform")  # fmt: skip


def cifar_targets(rows: Rows, seeds: Sequence[int]) -> list[Target]:
    """Drops and gains on the CIFAR JPEGs."""
    found = {n: points(rows, f"cifar/{n}", seeds) for n in CIFAR_ARMS}
    values = {n: mean(v) for n, v in found.items()}
    print("\nCIFAR (JPEG), test accuracy of the exported file in points, mean over seeds (blank: out of reach)")
    lines = [(n, "" if values[n] is None else values[n], float(np.ptp(v)) if v else "") for n, v in found.items()]
    table(("arm", "accuracy", "spread"), lines)
    gains = [less(values["20 35%/ours"], values[n]) for n in ("20 35%/uniform", "20 35%/depth")]
    reached = [g for g in gains if g is not None]
    return [
        at_most("cifar_drop_50", less(values["resnet56 tuned"], values["56 50%/ours"]), 1.0),
        at_least("cifar_gain_25", less(values["56 25%/ours"], values["56 25%/uniform resnet20"]), 3.0),
        at_least("gain_uniform_35", min(reached) if reached else None, 8.0),
        at_least("tie_50", less(values["20 50%/ours"], values["20 50%/uniform"]), 0.0),
    ]


def claim_targets(rows: Rows) -> list[Target]:
    """Prices, damage, solver, honesty, cold start."""
    row = lambda key: rows.rows.get(key, {})  # noqa: E731
    errors = [abs(r["predicted_ms"] - r["ms"]) / r["ms"] for r in finals(rows, "") if r["predicted_ms"]]
    missed = row("claims/retimed").get("over")
    cold = row("cold/start")
    if cold:
        what = "reached" if cold["reached"] else f"not reached within {cold['ratio']:.1f} x"
        best = f"best validation {cold['best_validation']:.4f} of {cold['ours_validation']:.4f}"
        print(f"\nCold start: {what} our {cold['ours_cpu_s']:.0f} CPU s ({cold['trained']} networks trained, {best})")
    return [
        at_least("stitched_50", row("claims/stitched").get("repaired"), 0.70),
        at_most("profile_cpu_s", row("claims/profile").get("profile_cpu_s"), 60, absolute=True),
        at_least("cold_ratio", cold.get("ratio"), 10),
        at_least("additive_spearman", row("claims/additive").get("spearman"), 0.9),
        at_most("second_budget_s", row("claims/profile").get("second_budget_s"), 60, absolute=True),
        at_most("over_budget", None if missed is None else len(missed), 0),
        at_most("predicted_error_median", float(np.median(errors)) if errors else None, 0.03),
        at_most("table_mape", row("claims/table").get("mape"), 0.03),
        at_least("table_spearman", row("claims/table").get("spearman"), 0.98),
        at_most("assign_s", row("claims/assign").get("resnet20_s"), 1.0, absolute=True),
        at_most("assign_56_s", row("claims/assign").get("resnet56_s"), 10.0, absolute=True),
    ]


def finals(rows: Rows, prefix: str) -> list[dict[str, object]]:
    """Every trained final of ours."""
    return [r for k, r in rows.rows.items() if k.startswith(prefix) and "/ours/" in k]


def retimed(bench: Bench, second: Bench | None) -> list[str]:
    """Our finals that miss their budget in the plain loop."""
    file = bench.deployer.export(faster(bench.entries[TEACHER].network, bench.timing)[0])
    missed = over_budget(bench, finals(bench.rows, "fashion/"), bench.rows.rows["fashion/reference"]["ms"], file)
    for n in (56, 20) if second is not None else ():
        file = second.deployer.export(faster(second.entries[f"resnet{n}"].network, second.timing)[0])
        ms = bench.rows.rows[f"cifar/reference resnet{n}"]["ms"]
        missed += over_budget(second, finals(bench.rows, f"cifar/{n} "), ms, file)
    return missed


def cold(bench: Bench) -> None:
    """One recorded run against our own run of the same single budget."""
    ms = COLD_BUDGET * bench.rows.rows["fashion/reference"]["ms"]
    ours(bench, "cold", list(bench.entries), {"cold/ours alone": ms}, 0, starts=3)
    mine = bench.rows.rows["cold/ours alone/0"]
    cap_s = min(COLD_CAP_S, COLD_RATIO * mine["cpu_s"])
    bench.rows.get("cold/start", lambda: cold_start(bench, TEACHER, mine, cap_s))


def main() -> None:
    """Runs what is asked for, prints tables and targets."""
    options = arguments(__doc__ or "")
    seeds = SEEDS[: options.seeds]
    rows = options.rows("hot_start")
    memory = MeasurementTable.open(Path(tempfile.gettempdir()) / "chipfit-bench" / "measurements.db")
    with OnnxRuntime(timing_bytes) as device:
        if options.quick:
            bench = fashion(rows, memory, device, 0.1)
            share = FASHION_BUDGETS[1]
            ours(
                bench, "quick", ["vgg6"], {f"fashion/{share:.0%}/ours": share * rows.rows["fashion/reference"]["ms"]}, 0
            )
        elif options.here:
            here(fashion(rows, memory, device, HERE_EPOCHS))
        else:
            bench, second = fashion(rows, memory, device, FASHION_EPOCHS), cifar(rows, memory, device)
            for seed in seeds:
                fashion_ours(bench, seed)
                if second is not None:
                    cifar_ours(second, seed)
            for seed in seeds[:RIVAL_SEEDS]:
                fashion_rivals(bench, seed)
                if second is not None:
                    cifar_rivals(second, seed)
            claims(bench, second)
            cold(bench)
            for seed in seeds:
                fashion_scratch(bench, seed)
            rows.get("claims/retimed", lambda: {"over": retimed(bench, second)})
    targets = [*fashion_targets(rows, SEEDS), *cifar_targets(rows, SEEDS), *claim_targets(rows)]
    finish("hot_start", rows, targets, options)


if __name__ == "__main__":
    sys.exit(main())
