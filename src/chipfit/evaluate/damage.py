"""Damage: how far the answers move when one option alone is taken, and what was repaired is repaired.

    d(decision, option) = KL(original ‖ network with only that option) = Σ p log(p / q), mean over inputs, in nats

measured after the layers that the option touches, and those behind them, were solved anew (`compress.refit`, with
little effort): what the solver adds up is then what the finished network will show. On ResNet-20 the sum predicts the
repaired truth of random assignments with a Spearman correlation of .99 and no bias, where damage before repair is two
to ten times too large for skipped blocks and chooses none of them (SPDY, Frantar & Alistarh 2022, adds damages of
compensated layers; the repair behind the option is what differs).

The original runs once; each option starts from its values at the first operator that it changes. Runs of two and three
neighbouring skipped blocks are measured too, as terms over their decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import batch
from chipfit.compress.pair import Original, Pair, changed, counterparts, shortcuts_first
from chipfit.compress.profile import Profile, key, real, stitch
from chipfit.compress.quantise import fake_quantised, ranges
from chipfit.compress.refit import Effort, chains, fit
from chipfit.core.edits import Edit, Precision, Skip
from chipfit.core.graph import ACTIVATIONS, Graph, Network
from chipfit.space import edits as on_graph
from chipfit.space.groups import Block, residual_blocks
from chipfit.space.menu import Assignment, Choice, Menu, Term
from chipfit.space.offer import Offer

EFFORT = Effort(rows_per_column=10, rounds=1, honest=False)


def divergence(teacher: NDArray[np.float32], student: NDArray[np.float32]) -> float:
    """KL(teacher ‖ student) of softmax answers, from logits (n, classes): mean over inputs, in nats."""
    p, q = (torch.log_softmax(torch.from_numpy(np.asarray(a)).double(), 1) for a in (teacher, student))
    return float((p.exp() * (p - q)).sum(1).mean())


class Scorer:
    """Damage of sets of edits of one network on some inputs, the values of the original being kept between them."""

    def __init__(
        self,
        network: Network,
        profile: Profile,
        repair: NDArray[np.float32],
        inputs: NDArray[np.float32],
        wanted: Iterable[Sequence[Edit]],
    ) -> None:
        self.network = network
        self.profile = profile
        self.repair = repair
        self.inputs = inputs
        self.original = Original(network, batch(np.concatenate([repair, inputs])))
        for edits in wanted:
            self._want(edits)
        with torch.inference_mode():
            self.teacher = self.original.value(network.graph.output)[len(repair) :].numpy()

    def _want(self, edits: Sequence[Edit]) -> None:
        before = self.network.graph
        small = on_graph.apply(before, edits)
        dirty, of = touched(before, small, edits)
        read = {i for o in small if o.name in dirty for i in o.inputs} - dirty
        goals = {of[c.end.name] for name, c in chains(small, shortcuts_first(small)).items() if name in dirty}
        self.original.want(read | goals | {before.output}, moments=(of[name] for name in dirty))

    def damage(self, edits: Sequence[Edit]) -> float:
        """KL in nats of the network after the edits, repaired."""
        if not edits:
            return 0.0
        if any(isinstance(e, Precision) for e in edits):
            small = stitch(self.network, self.profile, edits)
            known = ranges(small, self.repair)
            return divergence(self.teacher, fake_quantised(small, known, self.inputs))
        return divergence(self.teacher, self.repaired(edits).numpy())

    @torch.inference_mode()
    def repaired(self, edits: Sequence[Edit]) -> Tensor:
        """Logits (n, classes) after the edits and a quick repair of what they touch."""
        small = stitch(self.network, self.profile, edits)
        pair = Pair(self.original, small, edits)
        dirty, _ = touched(self.network.graph, small.graph, edits)
        for o in small.graph:
            if o.name in dirty:
                pair.small.values |= {i: self.original.value(i) for i in o.inputs if i not in dirty}
        effort = replace(EFFORT, inputs=len(self.repair))
        fit(pair, [o for o in small.graph if o.name in dirty], effort, np.random.default_rng(0))
        return pair.small.values[small.graph.output][len(self.repair) :]


def touched(original: Graph, small: Graph, edits: Sequence[Edit]) -> tuple[frozenset[str], dict[str, str]]:
    """Operators of the compressed graph that have to be computed anew, and whose output each should have."""
    of = counterparts(original, small, edits)
    goals = {name for name, c in chains(small, shortcuts_first(small)).items() if of[c.end.name] != c.end.name}
    return changed(original, small, of, goals), of


def damage(
    network: Network,
    offer: Offer,
    profile: Profile,
    repair: NDArray[np.float32],
    inputs: NDArray[np.float32],
) -> tuple[Menu, Profile]:
    """The offer's menu with real channels and damage terms, and the profile with what was measured.

    Args:
        network: the original.
        offer: of its graph.
        profile: of the network; damages that it has are not measured again.
        repair: some 256 normalised unlabelled inputs (n, C, H, W) on which options are repaired.
        inputs: as many others on which they are scored.
    """
    menu = real(offer.menu, profile)
    singles = {c: e for c, e in _choices(menu) if e}
    skips = {e.block: c for c, edits in singles.items() for e in edits if isinstance(e, Skip)}
    runs = [r for r in skip_runs(network.graph) if all(b in skips for b in r)]
    of_run = {r: tuple(Skip(b) for b in r) for r in runs}
    missing = {key(e): e for e in (*singles.values(), *of_run.values()) if key(e) not in profile.damage}
    if missing:
        scorer = Scorer(network, profile, repair, inputs, missing.values())
        profile = profile.knowing({k: scorer.damage(e) for k, e in missing.items()})
    terms = _single_terms(menu, {c: profile.damage[key(e)] for c, e in singles.items()})
    terms += _run_terms(menu, skips, {r: profile.damage[key(e)] for r, e in of_run.items()}, profile)
    return menu.priced(terms), profile


def _choices(menu: Menu) -> Iterable[tuple[Choice, tuple[Edit, ...]]]:
    for d, decision in enumerate(menu.decisions):
        for o, option in enumerate(decision.options):
            yield (d, o), option.edits


def _single_terms(menu: Menu, found: dict[Choice, float]) -> list[Term]:
    return [
        Term("damage", (d,), np.array([found.get((d, o), 0.0) for o in range(len(decision.options))]), decision.name)
        for d, decision in enumerate(menu.decisions)
    ]


def _run_terms(
    menu: Menu, skips: dict[str, Choice], found: dict[tuple[str, ...], float], profile: Profile
) -> list[Term]:
    """What a run costs beyond its blocks and the shorter runs in it; never less than nothing in total."""
    extra: dict[tuple[str, ...], float] = {}
    for run in sorted(found, key=len):
        known = sum(profile.damage[key((Skip(b),))] for b in run)
        known += sum(e for r, e in extra.items() if set(r) < set(run))
        extra[run] = found[run] - known
    terms = []
    for run, value in extra.items():
        on = [skips[b] for b in run]
        table = np.zeros([len(menu.decisions[d].options) for d, _ in on])
        table[tuple(o for _, o in on)] = value
        terms.append(Term("damage", tuple(d for d, _ in on), table, " ".join(run)))
    return terms


def skip_runs(graph: Graph) -> list[tuple[str, ...]]:
    """Pairs and triples of blocks that read each other directly, so that each shortcut is the identity."""
    blocks = residual_blocks(graph)
    after = {b.name: a.name for b in blocks for a in blocks if _reads(graph, b, a)}
    pairs = [(after[b.name], b.name) for b in blocks if b.name in after]
    return pairs + [(after[a], a, b) for a, b in pairs if a in after]


def _reads(graph: Graph, block: Block, other: Block) -> bool:
    shortcut = graph[block.shortcut]
    return shortcut.name == other.name or (shortcut.kind in ACTIVATIONS and shortcut.inputs[0] == other.name)


def additivity(
    menu: Menu,
    network: Network,
    profile: Profile,
    repair: NDArray[np.float32],
    inputs: NDArray[np.float32],
    rng: np.random.Generator,
    n: int = 40,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and true damage (n,), (n,) of random assignments of widths and skips, from light to heavy ones."""
    picked: list[Assignment] = []
    while len(picked) < n:
        share = rng.uniform(0.1, 0.8)
        if any(a := _random(menu, share, rng)):
            picked.append(a)
    edits = [menu.edits(a) for a in picked]
    scorer = Scorer(network, profile, repair, inputs, edits)
    predicted = np.array([menu.total("damage", a) for a in picked])
    return predicted, np.array([scorer.damage(e) for e in edits])


def _random(menu: Menu, share: float, rng: np.random.Generator) -> Assignment:
    """An assignment that changes a share of the width and depth decisions, each by one of its milder options."""
    chosen = list(menu.as_is)
    for d, decision in enumerate(menu.decisions):
        if decision.kind != "precision" and rng.random() < share:
            skip = next((o for o, option in enumerate(decision.options) if option.value == 0), None)
            widths = len(decision.options) - (skip is not None)
            chosen[d] = skip if skip is not None and rng.random() < 0.3 else int(rng.integers(0, widths // 2 + 1))
    for (a, i), (b, j) in menu.ties:
        if (chosen[a] == i) != (chosen[b] == j):
            chosen[a] = 0 if chosen[a] == i else chosen[a]
            chosen[b] = 0 if chosen[b] == j else chosen[b]
    return tuple(chosen)
