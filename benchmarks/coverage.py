"""What becomes of the networks that people bring: accepted, right, pruned right, edited for real.

    python benchmarks/coverage.py [--zoo FILE]... [--path FOLDER]... [--quick] [--json] [--full] [--no-edit] [--only R]

A zoo is a Python file with `Z`: name -> (function that builds a module, shape of one input, category); of a network
that takes several inputs the shape is their texts, such as ("image=3,32,32", "ids=24:int"). Whole numbers are given to
modules that take them and no floats. Each network is judged in a process of its own, whose row is recorded as soon as
it is there.

* `accepted`: networks that are traced; of the others the reason in one line.
* `wrong`: networks whose graph or ONNX file answers otherwise than the module, at two batch sizes, by more than
  rounding allows (1e-4, 1e-3 beyond twenty layers in a row).
* `pruned_wrong`: width groups (three of each network at least) that pruned are not what they are with zeros (1e-3).
* `transformers_free_macs`: median share of MACs in layers with a choice, of networks with attention.
* `edited` (unless --no-edit): share of the accepted whose file at 60 % of the MACs, narrowed by blocks of kernels of
  this machine, was measured at least 1.3 times as fast, or for which it is said why not: what keeps its widths, or that
  even its narrowest file is not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from harness import Rows, Target, at_least, at_most, commit, machine, table

ZOO = Path(__file__).parents[2] / "shared" / "cases" / "_architectures.py"
"""Where a zoo is looked for when none is named."""

QUICK = 8
SECONDS = 900
ACCEPTED, FREE, EDITED = 147, 0.8, 0.9


class Said(argparse.Namespace):
    """What was asked for."""

    json: bool
    quick: bool
    full: bool
    edit: bool
    here: bool
    zoo: list[Path]
    path: list[Path]
    only: str


def said() -> Said:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} networks, anew")
    parser.add_argument("--here", action="store_true", help="the same: a full look takes an hour")
    parser.add_argument("--full", action="store_true", help="judge recorded networks again")
    edited = {"action": argparse.BooleanOptionalAction, "default": True}
    parser.add_argument("--edit", **edited, help="measure an edited file of each too, as long as all else together")
    parser.add_argument("--zoo", type=Path, action="append", default=[], help="a file of networks; repeatable")
    parser.add_argument("--path", type=Path, action="append", default=[], help="a folder of packages that these need")
    parser.add_argument("--only", default="", help="networks whose name this expression finds")
    return parser.parse_args(namespace=Said())


def judged(task: str, zoo: Path, name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """The row of one network, from a process of its own."""
    words = [sys.executable, str(Path(__file__).parent / "coverage_network.py"), task, str(zoo), name]
    try:
        done = subprocess.run([*words, *map(str, paths)], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"crashed": f"took more than {SECONDS} s"}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        return {"crashed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:300]}
    row: dict[str, Any] = json.loads(last)
    return row


def names_of(zoo: Path, paths: Sequence[Path]) -> list[str]:
    """The networks of a zoo."""
    words = [sys.executable, str(Path(__file__).parent / "coverage_network.py"), "names", str(zoo), ""]
    done = subprocess.run([*words, *map(str, paths)], capture_output=True, text=True, check=True)
    names: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return names


def targets(rows: Sequence[dict[str, Any]], edited: Sequence[dict[str, Any]], networks: int) -> list[Target]:
    """The promises, with what was reached; of part of the networks the same share."""
    accepted = [r for r in rows if r.get("accepted")]
    free = [r["free"] for r in accepted if r.get("attention") and r["free"] is not None]
    done = [r for r in edited if r.get("faster", 0) >= 1.3 or r.get("reason")]
    wanted = ACCEPTED if networks >= 153 else round(networks * ACCEPTED / 153)
    lines = [r["refused"] for r in rows if r.get("refused")]
    return [
        at_least("networks", networks, 1),
        at_least("accepted", len(accepted), wanted),
        at_most("wrong", sum(bool(r.get("wrong")) for r in rows), 0),
        at_most("pruned_wrong", sum(bool(r.get("pruned_wrong")) for r in rows), 0),
        at_most("crashed", sum("crashed" in r for r in rows), 0),
        at_most("not_one_line", sum("\n" in line for line in lines), 0),
        at_least("transformers_free_macs", median(free) if free else None, FREE),
        at_least("edited", len(done) / len(edited) if edited else None, EDITED),
    ]


def show(rows: Sequence[dict[str, Any]]) -> None:
    """What was refused and why, what is wrong, what is opaque."""
    print()
    table(["refused", "reason"], [(r["name"], r["refused"][:150]) for r in rows if r.get("refused")])
    faults = [(r["name"], str(r.get(k))[:200]) for r in rows for k in ("wrong", "pruned_wrong", "crashed") if r.get(k)]
    if faults:
        print()
        table(["fault", "what"], faults)
    kinds: Counter[str] = Counter()
    networks: Counter[str] = Counter()
    for r in rows:
        kinds.update(r.get("opaque", {}))
        networks.update(r.get("opaque", {}).keys())
    if kinds:
        print()
        table(["taken as it is", "operators", "networks"], [(k, n, networks[k]) for k, n in kinds.most_common(40)])


def collected(asked: Said, rows: Rows, task: str, chosen: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The rows of every zoo's networks."""
    found = []
    for zoo in asked.zoo or [ZOO]:
        names = [n for n in names_of(zoo, asked.path) if chosen(n)]
        for name in names[:QUICK] if asked.quick or asked.here else names:
            found.append(rows.get(f"{task} {zoo.stem}/{name}", lambda z=zoo, n=name: _row(task, z, n, asked.path)))
    return found


def _row(task: str, zoo: Path, name: str, paths: Sequence[Path]) -> dict[str, Any]:
    return {"name": name} | judged(task, zoo, name, paths)


def main() -> None:
    """The benchmark."""
    asked = said()
    small = "_quick" if asked.quick or asked.here else ""
    rows = Rows(f"coverage{small}", full=asked.full or bool(small))
    wanted = re.compile(asked.only)
    judgements = collected(asked, rows, "judge", lambda name: bool(wanted.search(name)))
    accepted = {r["name"] for r in judgements if r.get("accepted")}
    edits = asked.edit and not small
    edited = collected(asked, rows, "edit", lambda name: name in accepted) if edits else []
    show(judgements)
    kept = targets(judgements, edited, len(judgements))
    if not edits:
        kept = [t for t in kept if t.name != "edited"]
    print()
    table(["target", "value", "promised", "met"], [(t.name, t.value, t.target, "yes" if t.met else "NO") for t in kept])
    if asked.json:
        refused = {r["name"]: r["refused"] for r in judgements if r.get("refused")}
        result = {"benchmark": "coverage", "machine": machine(), "commit": commit(), "refused": refused}
        print(json.dumps(result | {"targets": [asdict(t) for t in kept]}))
    sys.exit(not all(t.met for t in kept))


if __name__ == "__main__":
    main()
