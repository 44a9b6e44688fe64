"""What every benchmark shares: recorded rows that survive an interruption, a table, and the JSON line at the end."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real tables, weights and pictures; rows that need them are skipped where it is absent."""


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: the value reached, the value promised, and whether it is kept ("missing" counts as missed).

    An `absolute` one (seconds, numbers a second) holds on the machine of the recorded rows; the others are ratios.
    """

    name: str
    value: float | None
    target: str
    met: bool
    absolute: bool = False


def at_least(name: str, value: float | None, limit: float, *, absolute: bool = False) -> Target:
    """A target that is met from `limit` on upwards."""
    return Target(name, value, f">= {limit:g}", value is not None and value >= limit, absolute)


def at_most(name: str, value: float | None, limit: float, *, absolute: bool = False) -> Target:
    """A target that is met up to `limit`."""
    return Target(name, value, f"<= {limit:g}", value is not None and value <= limit, absolute)


def machine() -> str:
    """Processor and cores."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            flags = Path("/proc/cpuinfo").read_text()
            extra = [f for f in ("avx512_vnni", "amx_int8") if f in flags]
            count = flags.count("processor\t")
            return f"{line.split(':', 1)[1].strip()} ({', '.join(extra) or 'no VNNI'}), {count} cores"
    return platform.processor()


def commit() -> str:
    """The commit that runs, with a mark where the tree was changed."""
    here = Path(__file__).parent
    run = lambda *a: subprocess.run(["git", *a], cwd=here, capture_output=True, text=True).stdout.strip()  # noqa: E731
    return run("rev-parse", "--short", "HEAD") + ("+" if run("status", "--porcelain", "--", "../src") else "")


class Rows:
    """Rows of one benchmark, each kept in `results/<name>.jsonl` as soon as it is measured."""

    def __init__(self, name: str, *, full: bool) -> None:
        self.path, self.full = RESULTS / f"{name}.jsonl", full
        self.rows: dict[str, dict[str, Any]] = {}
        self.fresh: set[str] = set()
        if self.path.exists() and not full:
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                self.rows[row["key"]] = row
        if full:
            self.path.unlink(missing_ok=True)

    def get(self, key: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The recorded row of this key, or a new one."""
        if key not in self.rows:
            row = {"key": key, **make(), "commit": commit(), "machine": machine()}
            self.rows[key] = row
            self.fresh.add(key)
            RESULTS.mkdir(exist_ok=True)
            with self.path.open("a") as f:
                f.write(json.dumps(row) + "\n")
            print(f"  {key}: " + ", ".join(f"{k} {_short(v)}" for k, v in row.items() if k not in _QUIET), flush=True)
        return self.rows[key]

    def has(self, tag: str, seed: int) -> bool:
        """True when an arm (whatever model it started from) has its row of this seed."""
        return any(_arm(k) == tag and k.endswith(f"/{seed}") for k in self.rows)

    def of(self, tag: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of an arm, by seed."""
        return [r for s in seeds for k, r in self.rows.items() if _arm(k) == tag and k.endswith(f"/{s}")]


def _arm(key: str) -> str:
    """A key without its seed and the model in brackets."""
    return key.rpartition("/")[0].partition(" (")[0]


_QUIET = ("key", "commit", "machine", "right", "edits", "parts_ms", "devices", "design", "best", "for_all", "default")


def _short(v: Any) -> str:
    if isinstance(v, list) and v and isinstance(v[0], float):
        return f"{np.mean(v):.4g} (mean of {len(v)})"
    return f"{v:.4g}" if isinstance(v, float) else str(v)


class Options(argparse.Namespace):
    """What a benchmark was asked for."""

    json: bool
    quick: bool
    here: bool
    full: bool
    seeds: int

    def pick(self, *, quick: T, here: T, whole: T) -> T:
        """What belongs to the size that was asked for."""
        return quick if self.quick else here if self.here else whole

    def rows(self, name: str) -> Rows:
        """The recorded rows; the smaller sizes are measured anew each time, and never take another machine's."""
        size = self.pick(quick="_quick", here="_here", whole="")
        return Rows(name + size, full=self.full or bool(size))


def arguments(description: str) -> Options:
    """--json, --quick, --here, --full."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="a look in under a minute")
    parser.add_argument("--here", action="store_true", help="the claims on this machine in ten minutes, ratios only")
    parser.add_argument("--full", action="store_true", help="measure recorded rows again")
    parser.add_argument("--seeds", type=int, default=1, help="seeds to run, 45 minutes each; recorded ones count")
    return parser.parse_args(namespace=Options())


def asked(targets: Sequence[Target], options: Options) -> list[Target]:
    """The targets that count: with --here neither absolute ones nor those whose arms its size leaves out."""
    if not options.here:
        return list(targets)
    left = [t.name for t in targets if t.absolute or t.value is None]
    if left:
        print(f"\nnot asked with --here: {', '.join(left)}")
    return [t for t in targets if t.name not in left]


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints aligned columns."""
    texts = [[_short(c) for c in row] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in texts)) if texts else len(c) for i, c in enumerate(columns)]
    for line in [list(columns), ["-" * w for w in widths], *texts]:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def finish(name: str, rows: Rows, targets: Sequence[Target], options: Options) -> None:
    """Prints the targets, which rows were recorded, and with --json the object."""
    targets = asked(targets, options)
    print()
    table(
        ["target", "value", "promised", "met"], [(t.name, t.value, t.target, "yes" if t.met else "NO") for t in targets]
    )
    old = [k for k in rows.rows if k not in rows.fresh]
    print(
        f"\n{len(old)} rows recorded earlier, {len(rows.fresh)} measured now"
        + (f"; recorded: {', '.join(old)}" if old else "")
    )
    if options.json:
        result = {
            "benchmark": name, "machine": machine(), "commit": commit(), "rows": list(rows.rows.values()),
            "targets": [{k: v for k, v in asdict(t).items() if k != "absolute"} for t in targets],
        }  # fmt: skip
        print(json.dumps(result))


def paired_interval(a: Sequence[float], b: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the difference in accuracy of two networks on the same inputs, in points."""
    d = 100.0 * (np.asarray(a, float) - np.asarray(b, float))
    rng = np.random.default_rng(0)
    means = [d[rng.integers(0, len(d), len(d))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
