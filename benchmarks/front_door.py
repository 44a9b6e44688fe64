"""Whatever comes in ends right or in one clear line: random networks, bad inputs, small data, counts.

    python benchmarks/front_door.py [--quick] [--json] [--here] [--network SEED]

* `wrong`, `crashed`: networks of a grammar of ordinary PyTorch (`front_grammar`), each traced, edited at random and
  written in every format; a file or a network that answers otherwise than torch and was not refused is wrong, and
  anything but a refusal in one line is a crash. What was refused stands by reason.
* `tracebacks`, `exit_wrong`, `not_one_line`: bad files, tables, configurations and arguments (`front_bad`) through the
  command line.
* `small_data_ok`: data of 20 to 1,025 rows, fitted with and without training; fewer than 16 are one line.
* `counts_exact`: MACs and parameters of the menu against those of the network that an assignment makes, for networks
  with concatenations.

Nothing is recorded: it is about this code on this machine, and takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from front_bad import cases
from front_commands import Ending, all_ended
from front_counts import Counts, counted
from front_networks import Found, seen
from front_small import small_cases
from harness import Target, at_least, at_most, commit, machine, table

SHOWN = 5
"""Counts that are wrong come in hundreds, of one kind."""


@dataclass(frozen=True)
class Size:
    """How much is tried."""

    networks: int
    inputs: int | None
    assignments: int
    small: int | None


FULL, QUICK = Size(440, None, 240, None), Size(40, 40, 40, 2)


def networks(n: int) -> Found:
    """What becomes of the first `n` networks, on two processes."""
    total = Found()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for found in pool.map(seen, range(n), chunksize=4):
            total.add(found)
    return total


def commands(size: Size) -> tuple[list[Ending], list[Ending]]:
    """How bad inputs end, and how fits of small data do."""
    bad, small = cases(np.random.default_rng(0)), small_cases()
    if size.inputs is not None:
        picked = np.random.default_rng(1).permutation(len(bad))[: size.inputs]
        bad = [bad[i] for i in sorted(picked.tolist())]
    return all_ended(bad), all_ended(small[: size.small])


def targets(found: Found, bad: list[Ending], small: list[Ending], counts: Counts, size: Size) -> list[Target]:
    """The promises, with what was reached."""
    tracebacks = [e for e in bad if e.fault in ("traceback", "hangs, or dies") or e.fault.startswith("escapes")]
    not_one_line = [e for e in bad if e.fault.endswith("lines")]
    exit_wrong = [e for e in bad if e.fault and e not in tracebacks and e not in not_one_line]
    return [
        at_least("networks", found.networks, min(400, size.networks)),
        at_most("wrong", len(found.wrong), 0),
        at_most("crashed", len(found.crashed), 0),
        at_least("bad_inputs", len(bad), min(150, size.inputs or 150)),
        at_most("tracebacks", len(tracebacks), 0),
        at_most("exit_wrong", len(exit_wrong), 0),
        at_most("not_one_line", len(not_one_line), 0),
        at_least("small_data_ok", float(not any(e.fault for e in small)), 1),
        at_least("counted_assignments", counts.assignments, min(200, size.assignments)),
        at_least("counts_exact", float(not counts.wrong), 1),
    ]


def show(found: Found, bad: list[Ending], small: list[Ending], counts: Counts) -> None:
    """What was refused, and every fault."""
    print(f"\n{found.networks} networks, {sum(found.refused.values())} refused; {found.files} files run\n")
    _reasons("refused", found.refused)
    _reasons("not written", found.unwritten)
    faults = [("wrong", line) for line in found.wrong] + [("crashed", line) for line in found.crashed]
    faults += [(e.fault, f"{e.case.name}: {e.line}") for e in (*bad, *small) if e.fault]
    faults += [("counts", line) for line in counts.wrong[:SHOWN]]
    for kind, line in faults:
        print(f"{kind}: {line}")


def _reasons(what: str, reasons: Counter[str]) -> None:
    table([what, "reason"], [(n, reason) for reason, n in reasons.most_common()])
    print()


def one(seed: int) -> None:
    """Everything about one network."""
    found = seen(seed)
    show(found, [], [], Counts())


def main() -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="a look in under a minute")
    parser.add_argument("--here", action="store_true", help="the same: nothing of it is recorded")
    parser.add_argument("--network", type=int, help="the network of this seed alone")
    said = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if said.network is not None:
        one(said.network)
        return
    size = QUICK if said.quick else FULL
    found = networks(size.networks)
    counts = counted(size.assignments)
    bad, small = commands(size)
    show(found, bad, small, counts)
    kept = targets(found, bad, small, counts, size)
    print()
    table(["target", "value", "promised", "met"], [(t.name, t.value, t.target, "yes" if t.met else "NO") for t in kept])
    if said.json:
        result: dict[str, Any] = {
            "benchmark": "front_door", "machine": machine(), "commit": commit(), "refused": dict(found.refused),
            "unwritten": dict(found.unwritten), "files": found.files, "targets": [asdict(t) for t in kept],
        }  # fmt: skip
        print(json.dumps(result))
    sys.exit(not all(t.met for t in kept))


if __name__ == "__main__":
    main()
