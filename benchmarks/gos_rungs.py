"""How well cheap looks at a program foretell the accuracy that is left when it computes every layer that it can.

`kendall`: rank correlation, over programs, of the H-score (squared error after the closed-form fit, mean over layers)
with the accuracy of the whole network, every convolution but the first computed by the program and refitted. Beside it
that of multiply-accumulates and of the divergence after refit. VGG6 on Fashion-MNIST; programs are the seeds and
mutations of them, each fitting every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from bench import Bench
from gos_cases import FLOAT, VGG6, Cases
from harness import Options, Rows, Target, at_least, table
from scipy.stats import kendalltau

from chipfit.compress.profile import stitch
from chipfit.compress.refit import refit
from chipfit.core.edits import Swap
from chipfit.evaluate.divergence import divergence
from chipfit.evaluate.program_score import Scores
from chipfit.evaluate.start import SHIP_INPUTS, Start
from chipfit.nets.build import build
from chipfit.space.program import Place, Program, lowered, place_of
from chipfit.space.program.canonical import canonical
from chipfit.space.program.lower import fits
from chipfit.space.program.mutate import mutated
from chipfit.space.program.seeds import CONVOLUTION_SEEDS
from chipfit.space.program.words import share_of_macs
from chipfit.space.programmed import replaceable

PROGRAMS, TEST_INPUTS, SCORE_INPUTS = 48, 2000, 96
KENDALL = 0.6


def rungs(cases: Cases, options: Options) -> None:
    """A row for each program."""
    bench = cases.bench(VGG6)
    assert bench is not None
    start = cases.start(VGG6, FLOAT, programs=False)
    graph = start.entry.network.graph
    layers = replaceable(graph)[1:]
    inputs = start.inputs[start.parts.compensation][:SCORE_INPUTS]
    scores = Scores(start.entry.network, layers, inputs, start.profile.hessians)
    for program in drawn(start, layers, options.pick(quick=6, here=24, whole=PROGRAMS)):
        key = f"rungs/{program.text}"
        cases.rows.get(key, lambda p=program: looked_at(bench, start, layers, scores, p))


def drawn(start: Start, layers: Sequence[str], n: int) -> list[Program]:
    """Seeds, then mutations of them, that fit all layers and have weights to fit; each once, cheaper than the layer."""
    rng, graph = np.random.default_rng(0), start.entry.network.graph
    places = [place_of(graph, name) for name in layers]
    found: dict[str, Program] = {}

    def take(program: Program | None) -> None:
        if program is None or not all(fits(program, p) for p in places):
            return
        form = canonical(program)
        if lowered(form, places[-1]).arrays and _macs(form, places) < 1.0:
            found.setdefault(form.text, form)

    for seed in CONVOLUTION_SEEDS:
        take(seed)
    seeds = list(found.values())
    for _ in range(40 * n):
        if len(found) >= n:
            break
        take(mutated(seeds[int(rng.integers(len(seeds)))], places[-1], rng, pool=seeds))
    return list(found.values())[:n]


def _macs(program: Program, places: Sequence[Place]) -> float:
    return max(share_of_macs(program, place) for place in places)


def looked_at(bench: Bench, start: Start, layers: Sequence[str], scores: Scores, program: Program) -> dict[str, Any]:
    """The looks at a program, and the accuracy that it leaves."""
    network = start.entry.network
    edits = [Swap(layer, program.text) for layer in layers]
    errors = [scores.error(layer, program.text) for layer in layers]
    repair = start.inputs[start.parts.compensation][:SHIP_INPUTS]
    small = refit(
        network, stitch(network, start.profile, edits), edits, repair, np.random.default_rng(0), start.plan.shipped
    )
    x, targets = bench.test
    scored_on = start.inputs[start.parts.truth]
    with torch.inference_mode():
        net, teacher = build(small), build(network)
        right = net(torch.from_numpy(x[:TEST_INPUTS])).argmax(1).numpy() == targets[:TEST_INPUTS]
        answers = [n(torch.from_numpy(scored_on)).numpy() for n in (teacher, net)]
    return {
        "error": float(np.mean([e for e in errors if e is not None])), "layers": len(layers),
        "kl": float(divergence(*answers, start.task)), "macs": small.graph.total_macs / network.graph.total_macs,
        "accuracy": float(right.mean()),
    }  # fmt: skip


def rung_targets(rows: Rows) -> list[Target]:
    """Rank correlations of each rung with accuracy after refit."""
    found = [row for key, row in rows.rows.items() if key.startswith("rungs/")]
    if len(found) < 5:
        return [at_least("kendall", None, KENDALL)]
    truth = [row["accuracy"] for row in found]
    taus = {look: float(kendalltau([-row[look] for row in found], truth)[0]) for look in ("error", "kl")}
    taus["macs"] = float(kendalltau([row["macs"] for row in found], truth)[0])
    print(f"\nRank correlation (Kendall) with accuracy after refit, {len(found)} programs")
    table(("look", "tau"), list(taus.items()))
    return [at_least("kendall", taus["error"] if len(found) >= 40 else None, KENDALL)]
