"""Is `--time` kept, is every schedule whole, and is no answer worse than one that was held before?

    python benchmarks/time_kept.py [--quick] [--here] [--json] [--full]

Fits by the command line, each in a process of its own as a user starts it: a user's ResNet-20 on CIFAR JPEGs (where
`../shared` is there), a user's key-word spotter of 1,000 rows (`kws`), and a network of the zoo, for 60 s, 120 s and
5 minutes, on the machine as it is and with one core kept busy by another program. `over` is what a run took beyond its
time, in units of what is allowed: 10 %, or 10 s where that is more. Each time starts from an empty cache, so that
probing, prices and damages are in it. Then each finished run of 120 s gets another, looser budget, under which it may
not end in a worse file than it held; and the key-word spotter is fitted on two runtimes for what is foretold of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kws
from cifar import MEANS_STDS, MODEL, PICTURES, weights
from harness import Options, Rows, Target, arguments, at_least, at_most, finish, table

from chipfit.core.types import Trial
from chipfit.report.row import Row
from chipfit.report.view import Parity
from chipfit.store.store import Store

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"

TIMES = (60, 120, 300)
RESUMED = 120
"""Seconds of the runs that get a second budget, and of those on two runtimes."""

BUDGET, LOOSER, SECOND_S = "latency_ms=50%", "latency_ms=70%", 60
ALLOWED_S, ALLOWED_SHARE = 10.0, 0.1
STOPPED_S = 600.0
"""Beyond its time, after which a run is stopped: it will not end by itself."""

FORETOLD_WITHIN = 0.06


@dataclass(frozen=True, slots=True)
class Case:
    """A user's model and data, as words of the command line."""

    name: str
    words: tuple[str, ...]


def cases(folder: Path) -> list[Case]:
    """What there is to fit; the CIFAR network only where its files are."""
    spotter = str(HERE / "kws.py")
    words = (
        f"{spotter}:build",
        "--weights",
        str(kws.trained(folder / "kws.safetensors")),
        "--data",
        f"{spotter}:loaders",
    )
    found = [Case("kws", words), Case("zoo", ("zoo:fashion-mnist", "--data", "fashion-mnist"))]
    named = weights("resnet20")
    if not (named.is_file() and PICTURES.is_file()):
        print(f"  cifar: skipped, {named} or {PICTURES} is absent", flush=True)
        return found
    normal = ",".join("/".join(map(str, values)) for values in MEANS_STDS)
    words = (f"{MODEL}:resnet20", "--weights", str(named), "--data", str(PICTURES), "--normalize", normal)
    return [Case("cifar", words), *found]


@contextmanager
def busy_core() -> Iterator[None]:
    """Another program that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def command(words: Sequence[str], cache: Path, seconds: float) -> tuple[int, float, str]:
    """Exit code, wall seconds and last line of stderr of a `chipfit` command; -1 for one that had to be stopped."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(SOURCE)}
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "chipfit.cli", *words, "--json", "-v"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            _, errors = process.communicate(timeout=seconds + STOPPED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, time.monotonic() - began, "stopped: it did not end"
    last = errors.strip().splitlines()[-1:] or [""]
    return process.returncode, time.monotonic() - began, last[0]


def over(wall_s: float, seconds: float) -> float:
    """What a command took beyond its time, in units of what is allowed."""
    return (wall_s - seconds) / max(ALLOWED_S, ALLOWED_SHARE * seconds)


def fitted(
    case: Case, seconds: int, folder: Path, *, busy: bool = False, device: str = "onnxruntime"
) -> dict[str, Any]:
    """The row of one fit from an empty cache, its run directory being `folder`/run."""
    words = ["fit", *case.words, "--max", BUDGET, "--time", f"{seconds}s", "--device", device, "--seed", "0"]
    with busy_core() if busy else _nothing():
        code, wall_s, last = command([*words, "--out", str(folder / "run")], folder / "cache", seconds)
    return {"code": code, "wall_s": wall_s, "over": over(wall_s, seconds), "seed": 0, **told(folder / "run", last)}


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def told(run: Path, last: str) -> dict[str, Any]:
    """What the store of a run says of schedules, phases, its answer and what was foretold."""
    if not (run / "run.db").is_file():
        return {"error": last}
    with Store(run) as store:
        finals = store.trials(role="final")
        schedules: dict[str, dict[str, Any]] = store.fact("schedules") or {}  # type: ignore[assignment]
        foretold: dict[str, Any] = store.fact("table") or {}  # type: ignore[assignment]
        measured = [
            t for t in store.trials() if "budget" in t.labels and t.labels["role"] in ("candidate", "final", "baseline")
        ]
        return {
            "schedules": {name: [s["done"], s["planned"]] for name, s in schedules.items()},
            "cut": sum(not s["whole"] for s in schedules.values()),
            "phases": store.fact("phases") or [],
            "curtailed": store.fact("curtailed") or [],
            "accuracy": max((_validation(t) for t in finals), default=None),
            "ms": min((t.get("latency_ms") for t in finals), default=None),
            "foretold": [e for t in measured if (e := Row.of(t).prediction_error) is not None],
            "stated_error": _stated(foretold, measured),
            **({} if finals else {"error": last}),
        }


def _validation(trial: Any) -> float:
    return float(next(m.value for m in trial.measurements if m.metric == "accuracy" and m.where == "validation"))


def _stated(table: dict[str, Any], trials: Sequence[Trial]) -> float | None:
    """What console and report say of predictions: nine of ten networks' error, or the files' largest if it is more."""
    if not table:
        return None
    files = [abs(e) for t in trials if (e := Row.of(t).prediction_error) is not None]
    return max(Parity(table["predicted"], table["measured"]).nine_in_ten, *files)


def second_budget(case: Case, folder: Path) -> dict[str, Any]:
    """The row of a looser budget on the finished run of `folder`, made first where an earlier session left none."""
    if not (folder / "run" / "run.db").is_file():
        fitted(case, RESUMED, folder)
    before = told(folder / "run", "")
    words = ["resume", str(folder / "run"), "--max", LOOSER, "--time", f"{SECOND_S}s"]
    code, wall_s, last = command(words, folder / "cache", SECOND_S)
    after = told(folder / "run", last)
    with Store(folder / "run") as store:
        budgets = store.fact("budgets")
        answers = [t for t in store.trials(role="final") if t.labels["budget"] in (budgets or [])]
    now = max((_validation(t) for t in answers), default=None)
    held = before.get("accuracy")
    worse = int(now is None or (held is not None and now < held))
    return {
        "code": code, "wall_s": wall_s, "over": over(wall_s, SECOND_S), "before": held, "after": now, "worse": worse,
        "cut": after.get("cut"), "curtailed": after.get("curtailed"), "seed": 0,
    }  # fmt: skip


def targets(rows: Rows) -> list[Target]:
    """What was promised, over all rows."""
    every = list(rows.rows.values())
    fits = [r for r in every if "over" in r]
    resumed = [r for r in every if "worse" in r]
    spotter = [r for k, r in rows.rows.items() if k.startswith("kws/") and r.get("foretold")]
    errors = [(max(abs(e) for e in r["foretold"]), r["stated_error"] or 0.0) for r in spotter]
    failed = [r for r in fits if r["code"] != 0]
    return [
        at_most("over_max", max((r["over"] for r in fits), default=None), 1.0),
        at_most("schedules_cut", sum(r.get("cut") or 0 for r in fits) if fits else None, 0),
        at_most("worse_after_resume", sum(r["worse"] for r in resumed) if resumed else None, 0),
        at_most("ended_without_a_file", len(failed) if fits else None, 0),
        at_least(
            "kws_error_told", float(all(e <= max(FORETOLD_WITHIN, s) for e, s in errors)) if errors else None, 1.0
        ),
        Target(
            "kws_predicted_error", max((e for e, _ in errors), default=None), f"<= {FORETOLD_WITHIN:g}, or told",
            bool(errors) and all(e <= max(FORETOLD_WITHIN, s) for e, s in errors),
        ),
    ]  # fmt: skip


def measure(rows: Rows, options: Options, folder: Path) -> None:
    """Every arm that has no row yet, the short ones first."""
    found = cases(folder)
    seconds = options.pick(quick=(40,), here=(60,), whole=TIMES)
    if options.quick:
        found = [c for c in found if c.name == "kws"]
    for s in seconds:
        for case in found:
            for busy in (False,) if options.quick else (False, True):
                key = f"{case.name}/{s}s/{'busy' if busy else 'idle'}"
                rows.get(key, lambda c=case, s=s, b=busy, k=key: fitted(c, s, folder / k, busy=b))
    if options.quick:
        return
    again = options.pick(quick=0, here=60, whole=RESUMED)
    for case in found:
        rows.get(f"{case.name}/second budget", lambda c=case: second_budget(c, folder / f"{c.name}/{again}s/idle"))
    spotter = next(c for c in found if c.name == "kws")
    rows.get(f"kws/{again}s/litert", lambda: fitted(spotter, again, folder / "litert", device="litert"))


def main() -> None:
    """Runs what is missing, prints the table and the promises."""
    options = arguments(__doc__ or "")
    rows = options.rows("time_kept")
    with tempfile.TemporaryDirectory() as folder:
        measure(rows, options, Path(folder))
    shown = [
        (k, r["wall_s"], r["over"], r.get("cut"), _steps(r), r.get("accuracy") or r.get("after"), r.get("error", ""))
        for k, r in rows.rows.items()
    ]
    table(("arm", "seconds", "over", "cut", "steps", "validation", "without a file"), shown)
    finish("time_kept", rows, targets(rows), options)


def _steps(row: dict[str, Any]) -> str:
    long = [done for name, (done, _) in row.get("schedules", {}).items() if name.startswith("long ")]
    return json.dumps(long)


if __name__ == "__main__":
    main()
