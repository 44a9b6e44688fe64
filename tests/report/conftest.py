"""A store such as a whole run leaves behind, made up from a seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.types import Candidate, Measurement, Plain, Trial
from chipfit.store.store import Store

DEVICE = "epyc-7763-ort-1.31-1t"
SITES = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
WIDTHS = {"layer1": 16, "layer2": 32, "layer3": 64}


def accuracy(value: float, where: str, n: int = 10_000) -> Measurement:
    return Measurement("accuracy", value, "measured", where, "top-1", float(np.sqrt(value * (1 - value) / n)), n)


def costs(ms: float, predicted: float | None, mb: float, macs: float) -> list[Measurement]:
    made = [
        Measurement("latency_ms", ms, "measured", DEVICE, "canary ratio v1, 1 thread", 0.006 * ms, 40),
        Measurement("size_mb", mb, "measured"),
        Measurement("macs", macs, "counted"),
        Measurement("params", macs / 150, "counted"),
    ]
    return made + ([Measurement("latency_ms", predicted, "predicted", DEVICE, "tables")] if predicted else [])


def choices(rng: np.random.Generator, depth: float) -> dict[str, str]:
    chosen = {}
    for site in SITES:
        full = WIDTHS[site.split(".")[0]]
        skipped = site[-1] != "0" and rng.random() < depth / 3
        chosen[site] = "skip" if skipped else str(int(full * rng.choice([0.25, 0.5, 0.75, 1.0])))
    return chosen | {f"bits:{site}.conv{c}": str(rng.choice(["fp32", "int8"])) for site in SITES for c in (1, 2)}


def candidate(n: int, rng: np.random.Generator) -> Candidate:
    chosen = choices(rng, rng.random())
    edits: list[Plain] = [["width", k, list(range(int(v)))] for k, v in chosen.items() if v.isdigit()]
    edits += [["skip", k] for k, v in chosen.items() if v == "skip"]
    return Candidate({"model": "resnet20", "edits": edits, "choices": chosen, "n": n})


def fill_trials(store: Store, rng: np.random.Generator) -> None:
    zoo = [
        ("lenet5", 0.068, 0.905, 0.25, 0.42e6),
        ("resnet8", 0.31, 0.921, 0.31, 9.5e6),
        ("resnet20", 0.97, 0.935, 1.09, 31e6),
        ("wrn16", 2.4, 0.941, 2.9, 84e6),
    ]
    for name, ms, share, mb, macs in zoo:
        found = [accuracy(share + 0.004, "validation", 6000), accuracy(share, "test"), *costs(ms, None, mb, macs)]
        labels = {"role": "zoo", "model": name, "name": name}
        store.append(Trial(Candidate({"model": name}), tuple(found), labels=labels))
    for n in range(40):
        ms = float(np.exp(rng.uniform(np.log(0.2), np.log(1.1))))
        share = 0.938 - 0.03 * (0.97 / ms - 1) ** 0.8 / 2 - abs(rng.normal(0, 0.008)) if ms < 0.97 else 0.93
        found = [accuracy(share, "validation", 6000), *costs(ms, ms * rng.normal(1, 0.02), ms, ms * 30e6)]
        role = "stitched" if n % 9 == 0 else "candidate"
        store.append(
            Trial(candidate(n, rng), tuple(found), labels={"role": role, "model": "resnet20", "name": f"c{n}"})
        )
    refused = "BadInput: operator 'resize' has no rule in int8"
    store.append(Trial(candidate(98, rng), error=refused, labels={"role": "candidate", "name": "c98"}))
    for name, ms, share in (("all-int8", 0.61, 0.931), ("uniform width", 0.418, 0.912), ("depth only", 0.415, 0.909)):
        found = [
            accuracy(share + 0.003, "validation", 6000),
            accuracy(share, "test"),
            *costs(ms, ms * 1.02, ms, ms * 30e6),
        ]
        labels = {"role": "baseline", "model": "resnet20", "name": name, "budget": "latency_ms<=0.42"}
        store.append(Trial(candidate(200 + len(name), rng), tuple(found), labels=labels))
    for n, (budget, ms, share) in enumerate((("latency_ms<=0.42", 0.412, 0.929), ("latency_ms<=0.25", 0.2561, 0.916))):
        found = [
            accuracy(share + 0.004, "validation", 6000),
            accuracy(share, "test"),
            *costs(ms, ms * 0.979, ms, ms * 30e6),
        ]
        labels = {"role": "final", "model": "resnet20", "name": "ours", "budget": budget}
        store.append(Trial(candidate(300 + n, rng), tuple(found), labels=labels))


def profile(rng: np.random.Generator) -> dict[str, Plain]:
    names = ["conv1", *(f"{s}.conv{c}" for s in SITES for c in (1, 2)), "fc"]
    before = [[n, float(0.02 + 0.06 * rng.random()), str(rng.choice(["compute", "memory", "launch"]))] for n in names]
    after = [[n, float(ms) * rng.uniform(0.3, 0.7), word] for n, ms, word in before if "layer2.1" not in str(n)]
    return {"before": before, "after": after}


def fill_facts(store: Store, rng: np.random.Generator) -> None:
    true = np.exp(rng.uniform(-1.6, 0.1, 40))
    damage = np.exp(rng.uniform(-6, 0.5, 40))
    shares = (1, 0.75, 0.5, 0.25)
    options = {s: [[str(int(f * WIDTHS[s[:6]])), f * WIDTHS[s[:6]]] for f in shares] for s in SITES}
    width = [[s, "width", [*options[s], ["skip", 0]]] for s in SITES]
    bits = [[f"bits:{s}.conv{c}", "precision", [["fp32", 32], ["int8", 8]]] for s in SITES for c in (1, 2)]
    facts: dict[str, Plain] = {
        "device": {
            "name": "ONNX Runtime, AMD EPYC 7763, 1 thread", "fingerprint": DEVICE, "isa": ["avx2", "fma"],
            "channel_block": {32: 8, 8: 16}, "reduce_range": True, "overhead_ms": 0.0042,
            "runtime": "onnxruntime 1.31.1",
        },
        "dataset": {
            "name": "fashion-mnist", "digest": "9f86d081884c7d65", "input_shape": [1, 28, 28],
            "sizes": {"train": 54000, "validation": 6000, "test": 10000},
            "classes": ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt"],
            "licence": "MIT", "notes": ["validation: the last 6,000 rows of train"], "mean": [0.286], "std": [0.353],
        },
        "budgets": ["latency_ms<=0.42", "latency_ms<=0.25"],
        "reference": {"name": "resnet20", "latency_ms": 0.97, "accuracy": 0.939},
        "phases": [["zoo", 1.9], ["price", 38.2], ["damage", 34.7], ["solve", 0.9], ["repair", 41.0], ["train", 388.5],
                   ["measure", 52.1], ["report", 2.2]],
        "untouched": [["resnet20", "fc", "its outputs are the classes"],
                      ["lenet5", "conv1", "its 6 channels are no more than one kernel block of 8"]],
        "kept_fp32": [["conv1", "int8 was slower: 0.031 ms against 0.024 ms"]],
        "additive": {"predicted": (damage * rng.lognormal(0.5, 0.4, 40)).tolist(), "true": damage.tolist(),
                     "spearman": 0.962},
        "table": {"predicted": (true * rng.normal(1, 0.02, 40)).tolist(), "measured": true.tolist(),
                  "mape": 0.0171, "spearman": 0.99},
        "profile": profile(rng),
        "decisions": {"resnet20": width + bits},
        "versions": {"chipfit": "0.1.0", "torch": "2.13.0", "onnx": "1.23.2", "onnxruntime": "1.31.1"},
        "licences": {"zoo weights": "CC0-1.0"},
        "seed": 0,
        "config": {"models": ["zoo:fashion-mnist"], "limits": ["latency_ms<=0.42"], "time": "10m"},
        "warnings": ["Timing noise between sittings was 1.4 %; differences below that say nothing."],
    }  # fmt: skip
    for key, value in facts.items():
        store.set_fact(key, value)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    path = tmp_path_factory.mktemp("runs") / "first"
    rng = np.random.default_rng(7)
    with Store(path) as store:
        fill_trials(store, rng)
        fill_facts(store, rng)
        store.record_test_read("the report's before/after table")
        store.finish()
    return path


@pytest.fixture
def a_store(tmp_path: Path) -> Callable[..., Store]:
    """Makes a small store of given trials, each (role, name, validation accuracy, ms), and facts."""

    def make(*rows: tuple[str, str, float, float], **facts: Plain) -> Store:
        store = Store(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        for role, name, share, ms in rows:
            found = (accuracy(share, "validation"), Measurement("latency_ms", ms, "measured", DEVICE))
            labels = {"role": role, "model": "m", "name": name}
            store.append(Trial(Candidate({"model": "m", "name": name}), found, labels=labels))
        for key, value in facts.items():
            store.set_fact(key, value)
        return store

    return make
