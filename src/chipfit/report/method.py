"""How the numbers of a report came about: device, protocol, data, seed, versions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from html import escape

from chipfit.core.types import DeviceFacts, Measurement
from chipfit.report.view import RunView


def method(run: RunView) -> str:
    """The section "how it was measured" (HTML)."""
    parts = [
        _list("Device", _device(run.device) if run.device else {}),
        _list("Latency", _latency(run)),
        _list("Data", _data(run)),
        _list(
            "Run",
            {
                "seed": str(run.seed) if run.seed is not None else "",
                "trained and repaired on": escape(run.accelerator),
                "directory": escape(run.path.name),
            },
        ),
        _list("Versions", {escape(k): escape(v) for k, v in run.versions.items()}),
        _list("Licences", {escape(k): escape(v) for k, v in run.licences.items()}),
    ]
    config = escape(json.dumps(run.config, indent=2)) if run.config else ""
    folded = f"<details><summary>Configuration of the run</summary><pre>{config}</pre></details>" if config else ""
    return f'<div class="facts">{"".join(parts)}</div>{folded}'


def _list(title: str, pairs: Mapping[str, str]) -> str:
    lines = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in pairs.items() if v)
    return f"<section><h3>{title}</h3><dl>{lines}</dl></section>" if lines else ""


def _device(d: DeviceFacts) -> dict[str, str]:
    steps = ", ".join(f"{bits}-bit: {step}" for bits, step in sorted(d.channel_block.items(), reverse=True))
    return {
        "name": escape(d.name),
        "fingerprint": escape(d.fingerprint),
        "runtime": escape(d.runtime),
        "instruction set": escape(", ".join(d.isa)),
        "cost steps at channels": escape(steps),
        "overhead of an empty network": f"{d.overhead_ms:.3g} ms" if d.overhead_ms else "",
        "clock": d.clock,
        "int8 weights": "7 bits, as these kernels saturate" if d.reduce_range else "",
    }


def _latencies(run: RunView) -> Iterable[Measurement]:
    return (r.latency for r in run.rows if r.latency is not None)


def _latency(run: RunView) -> dict[str, str]:
    seen = list(_latencies(run))
    blocks = sorted({m.n for m in seen if m.provenance != "predicted"})
    counts = {p: sum(m.provenance == p for m in seen) for p in dict.fromkeys(m.provenance for m in seen)}
    return {
        "numbers": escape(", ".join(f"{n} {p}" for p, n in counts.items())),
        "protocol": escape("; ".join(dict.fromkeys(m.protocol for m in seen if m.protocol))),
        "blocks each": "–".join(str(n) for n in dict.fromkeys((blocks[0], blocks[-1]))) if blocks else "",
        "taken on": escape("; ".join(dict.fromkeys(m.where for m in seen if m.where))),
    }


def _data(run: RunView) -> dict[str, str]:
    d = run.dataset
    names = f"{d.classes}" if isinstance(d.classes, int) else f"{len(d.classes)}: {', '.join(d.classes)}"
    openings = "; ".join(f"{escape(why)} ({_moment(at)})" for at, why in run.test_reads)
    return {
        "name": escape(d.name),
        "digest": escape(d.digest),
        "rows": escape(", ".join(f"{part} {n:,}" for part, n in d.sizes.items())),
        "input": " × ".join(str(n) for n in d.input_shape),
        "classes": escape(names) if d.classes else "",
        "mean, std": escape(f"{_numbers(d.mean)}; {_numbers(d.std)}") if d.mean else "",
        "licence": escape(d.licence) if d.name else "",
        "notes": escape("; ".join(d.notes)),
        "test split opened": f"{len(run.test_reads)}×: {openings}" if run.test_reads else "never",
    }


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{v:.4g}" for v in values)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def doubts(run: RunView) -> list[str]:
    """What a reader must know before trusting a comparison, beside the run's own warnings (plain text)."""
    seen = list(_latencies(run))
    found = list(run.warnings)
    if len(kinds := dict.fromkeys(m.provenance for m in seen)) > 1:
        found.append(f"Latencies of different provenance stand in this run ({', '.join(kinds)}); each is marked.")
    if foretold := [m for m in seen if m.provenance == "predicted"]:
        found.append(
            f"{len(foretold)} latencies are predictions ({foretold[0].protocol}): those files were not measured on the "
            "device, and budgets are held against the upper ends of the intervals."
        )
    if len(places := dict.fromkeys(m.where for m in seen if m.provenance == "measured")) > 1:
        found.append(f"Latencies were measured on different devices ({', '.join(places)}); compare within one only.")
    if len(run.test_reads) > 1:
        found.append(f"The test split was opened {len(run.test_reads)} times; later numbers on it are not untouched.")
    broken = [f"{m.metric} of {r.title}" for r in run.rows for m in r.measurements if not math.isfinite(m.value)]
    if broken:
        found.append(f"Not a number, and left out: {', '.join(broken)}.")
    if not run.finished:
        found.append("This run is not finished; the report shows what there is.")
    return found
