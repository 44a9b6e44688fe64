"""Damage: how far the answers move when one option alone is taken and what it broke is repaired.

    d(decision, option) = KL(original ‖ network with only that option) = Σ p log(p / q), mean over inputs, in nats

of class probabilities; tasks with other answers have other divergences, in nats too (`divergence`).

The layers that the option touches, and those behind them, are solved anew before the answers are compared
(`compress.refit`, with little effort): what the solver adds up is then what the finished network will show. On
ResNet-20 the sum predicts the repaired truth of random assignments with a Spearman correlation of .99 and within a
fifth, where damage before repair is several times too large, and ten times for skipped blocks, none of which would
then be chosen. (SPDY, Frantar & Alistarh 2022, adds the damages of compensated layers; the repair of the layers behind
them is what differs.)

The original runs once; each option starts from its values at the first operator that it changes. Runs of two and three
neighbouring skipped blocks are measured too, as terms over their decisions. Of a wide group only some widths are
measured, and the others lie on a line between them, in the logarithm of the damage. What does several things to one
layer counts as their sum (`composed`).

A damage is a mean over inputs, and is kept with its standard error over them: on a dozen inputs it may be off by a
third. One that is not finite says nothing, and a search would be blind with it: it is refused here, where it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress.forward import affordable, batch
from chipfit.compress.pair import Original, Pair, changed, shortcuts_first
from chipfit.compress.profile import Profile, key, real, stitch
from chipfit.compress.quantise import Range, fake_quantised, ranges
from chipfit.compress.refit import Effort, chains, fit, solved_for
from chipfit.compress.statistics import adjustable
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit, Edited
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import ACTIVATIONS, Graph, Network
from chipfit.core.task import CLASSIFICATION, Task
from chipfit.evaluate.composed import parts_of, summed
from chipfit.evaluate.damage_plan import EFFORT, WHOLE_PLAN, WIDTHS, Plan
from chipfit.evaluate.divergence import divergence, divergences
from chipfit.evaluate.program_damage import while_there
from chipfit.evaluate.ticker import Ticker, quiet
from chipfit.evaluate.unscored import coarse_first, guessed, lost_shares, scaled
from chipfit.space.edits import Skip, drops, edited, kind_of, narrowed_to, structural
from chipfit.space.groups import Block, residual_blocks
from chipfit.space.menu import Assignment, Choice, Decision, Menu, Term
from chipfit.space.offer import Offer

__all__ = ["Scorer", "additivity", "all_scored", "damage", "divergence", "divergences", "needed", "skip_runs"]

MEMORY_MB = 2000.0
"""For the values of the original that options start from and are held against."""

WHOLE_MB = 600.0
"""The same where edits are all over the network, and as much again is held of what it becomes."""

Floats = NDArray[np.float32]


class Scorer:
    """Damage of sets of edits (`wanted`) of one network, the values of the original being kept between them.

    What the edits break is repaired on `repair`, and the answers compared on `inputs`, both normalised (n, C, H, W).
    `model` names the network in errors, `task` says how answers are compared; fewer inputs than given are looked at
    where the original's values take more than `memory_mb`.

    Raises:
        BadInput: the network's own answers are not finite.
    """

    def __init__(
        self,
        network: Network,
        profile: Profile,
        repair: Floats,
        inputs: Floats,
        wanted: Iterable[Sequence[Edit]],
        effort: Effort = EFFORT,
        *,
        model: str = "the model",
        task: Task = CLASSIFICATION,
        memory_mb: float = MEMORY_MB,
    ) -> None:
        self.network = network
        self.model = model
        self.task = task
        self.profile = profile
        self.effort = effort
        values, noted = {network.graph.output}, set[str]()
        for edits in wanted:
            more, moments = needed(network.graph, edits, effort)
            values |= more
            noted |= moments
        held = sum(network.graph[name].size for name in values)
        n = min(affordable(network.graph, memory_mb), max(16, int(memory_mb * 1e6 / (4 * held)))) // 2
        self.repair, self.inputs = repair[:n], inputs[:n]
        self.original = Original(network, batch(np.concatenate([self.repair, self.inputs])))
        self.original.want(values, noted)
        self._unedited: Mapping[str, Range] | None = None
        with torch.inference_mode():
            self.teacher = self.original.value(network.graph.output)[len(self.repair) :].numpy(force=True)
        if not np.isfinite(self.teacher).all():
            raise BadInput(
                f"model {model!r} answers NaN or infinite values to inputs of the training part, so that no change of "
                f"it can be judged; look at its weights and at the range of its inputs"
            )

    def damage(self, edits: Sequence[Edit]) -> float:
        """Divergence in nats after the edits and a quick repair of what they touch.

        Raises:
            ChipfitError: it is not finite.
        """
        return self.scored(edits)[0]

    def scored(self, edits: Sequence[Edit]) -> tuple[float, float]:
        """Damage (nats) of the edits, and its standard error over the inputs.

        Raises:
            ChipfitError: the damage is not finite.
        """
        each = self._divergences(edits)
        mean = float(each.mean()) if len(each) else math.nan
        if not math.isfinite(mean):
            raise ChipfitError(
                f"model {self.model!r}: the damage of {_told(edits)} on {len(each)} inputs is {mean}, and a search "
                f"would be blind with it; leave that layer as it is with --keep"
            )
        error = float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else abs(mean)
        return mean, error

    @torch.inference_mode()
    def _divergences(self, edits: Sequence[Edit]) -> NDArray[np.float64]:
        structure = structural(edits)
        pair = self._repaired(structure)
        if len(structure) < len(edits):
            coded = Network(edited(self.network.graph, edits).graph, pair.network().weights)
            # 7 bits: damage must not depend on the device, and some processors have no more
            answers = fake_quantised(coded, self._ranges(coded, structure), self.inputs, reduce_range=True)
        elif pair.graph.output in pair.small.values:
            answers = pair.small.values[pair.graph.output][len(self.repair) :].numpy(force=True)
        else:
            return np.zeros(len(self.inputs))  # nothing was changed
        return divergences(self.teacher, answers, self.task)

    def _ranges(self, coded: Network, structure: Sequence[Edit]) -> Mapping[str, Range]:
        """Where the values of a network are clipped; those of one that no edit changed but in its numbers once."""
        if structure:
            return ranges(coded, self.repair)
        self._unedited = self._unedited or ranges(coded, self.repair)
        return self._unedited

    def _repaired(self, edits: Sequence[Edit]) -> Pair:
        small, made = stitch(self.network, self.profile, edits), edited(self.network.graph, edits)
        dirty = touched(self.network.graph, made)
        ops = [o for o in small.graph if o.name in dirty]
        pair = Pair(self.original, small, made, shared=True, solved=ops)
        for o in ops:
            pair.small.values |= {i: self.original.value(i) for i in o.inputs if i not in dirty}
        fit(pair, ops, replace(self.effort, inputs=len(self.repair)), np.random.default_rng(0))
        return pair


def _told(edits: Sequence[Edit]) -> str:
    """The first few edits in words."""
    return ", ".join(kind_of(e).in_words(e) for e in edits[:3]) + (", ..." if len(edits) > 3 else "")


def touched(original: Graph, made: Edited) -> frozenset[str]:
    """Operators of the compressed graph that have to be computed anew."""
    layers, of = chains(made.graph, shortcuts_first(made.graph)), made.stands_for
    absorbing = {name for name, c in layers.items() if name in of and of[c.end.name] != c.end.name}
    return changed(original, made, absorbing)


def needed(original: Graph, edits: Sequence[Edit], effort: Effort = EFFORT) -> tuple[set[str], set[str]]:
    """Operators of the original whose values, and those whose moments, the repair after the edits asks for."""
    made = edited(original, structural(edits))
    small, of, dirty = made.graph, made.stands_for, touched(original, made)
    values = {i for o in small if o.name in dirty for i in o.inputs if i not in dirty}
    values |= {of[c.end.name] for name, c in solved_for(small, dirty, effort, of).items() if name in dirty}
    return values, {of[name] for name in dirty & adjustable(small) & of.keys()}


def damage(
    network: Network,
    offer: Offer,
    profile: Profile,
    repair: Floats,
    inputs: Floats,
    *,
    model: str = "the model",
    task: Task = CLASSIFICATION,
    deadline: Deadline | None = None,
    plan: Plan = WHOLE_PLAN,
    tell: Callable[[str], None] = quiet,
    between: Callable[[], None] = lambda: None,
) -> tuple[Menu, Profile]:
    """The offer's menu with real channels and damage terms, and the profile with what was measured.

    Args:
        network: the original.
        offer: of its graph.
        profile: of the network; damages that it has are not measured again.
        repair: some 256 normalised unlabelled inputs (n, C, H, W) on which options are repaired.
        inputs: as many others on which they are scored.
        model: names the network in errors.
        task: says how answers are compared.
        deadline: no option is scored after it; those that were not count as the worst of their kind (`unscored`).
        plan: how many widths of a group are scored, on how many inputs, and after how much repair.
        tell: is told now and then how many options were scored.
        between: is called before each option, by the thread that scores it.

    Raises:
        ValueError: the profile is of another network.
        ChipfitError: a damage is not finite.
    """
    if profile.network != network.digest():
        raise ValueError(f"the profile is of network {profile.network}, not of {network.digest()}; make a new one")
    menu = real(offer.menu, profile)
    singles = _measured(menu, plan.widths)
    skips = {e.block: c for c, edits in singles.items() for e in edits if isinstance(e, Skip)}
    runs = [r for r in skip_runs(network.graph) if skips.keys() >= set(r)]
    wanted = [*singles.values(), *(tuple(map(Skip, r)) for r in runs)]
    missing = {k: e for e in wanted if (k := key(e)) not in profile.damage}
    if missing:
        repair, inputs = repair[: plan.scored], inputs[: plan.scored]
        scorer = Scorer(network, profile, repair, inputs, missing.values(), plan.effort, model=model, task=task)
        first = [k for k in coarse_first(menu, singles) if k in missing]
        ordered = {k: missing[k] for k in first} | missing
        scores = _scored(scorer, ordered, deadline, tell, between)
        means, errors = ({k: score[n] for k, score in scores.items()} for n in (0, 1))
        profile = profile.knowing(means, errors, len(scorer.inputs))
    return menu.priced(_terms(network.graph, menu, profile, singles, skips, runs)), profile


def _terms(
    graph: Graph,
    menu: Menu,
    profile: Profile,
    singles: Mapping[Choice, Sequence[Edit]],
    skips: Mapping[str, Choice],
    runs: Sequence[tuple[str, ...]],
) -> list[Term]:
    """The damage of every option, and of runs of blocks beyond it: as scored, or by what was."""
    if not menu.decisions:
        return [Term("damage", (), np.zeros(()), "as it is")]
    keys = {c: key(edits) for c, edits in singles.items()}
    found = {c: profile.damage[k] for c, k in keys.items() if k in profile.damage}
    lost = lost_shares(menu, {group: len(order) for group, order in profile.order.items()})
    missing = [c for c in singles if c not in found]
    found |= guessed(menu, missing, found, lost)
    found |= summed(menu, found)
    terms = [Term("damage", (d,), _table(d, of, found, lost), of.name) for d, of in enumerate(menu.decisions)]
    terms = while_there(menu, graph, terms)
    known = {k: found[c] for c, k in keys.items() if c in found}
    return terms + _run_terms(menu, skips, runs, {**known, **profile.damage})


def all_scored(menu: Menu, profile: Profile) -> bool:
    """True where a profile has the damage of every option that is to be measured."""
    return all(key(edits) in profile.damage for edits in _measured(menu).values())


def _scored(
    scorer: Scorer,
    wanted: Mapping[str, Sequence[Edit]],
    deadline: Deadline | None,
    tell: Callable[[str], None] = quiet,
    between: Callable[[], None] = lambda: None,
) -> dict[str, tuple[float, float]]:
    """Damage and its error of these edits, in their order, as far as there is time."""
    until, found = deadline or Deadline.never(), dict[str, tuple[float, float]]()
    ticker = Ticker(tell, "options scored")
    for k, edits in wanted.items():
        ticker(len(found), len(wanted))
        if until.passed():
            break
        between()
        found[k] = scorer.scored(edits)
    return found


def _measured(menu: Menu, most_widths: int = WIDTHS) -> dict[Choice, tuple[Edit, ...]]:
    """The options that are measured: not all of many widths, nor what only goes with another's or is made of others."""
    follow = {choice for _, choice in menu.ties}
    found: dict[Choice, tuple[Edit, ...]] = {}
    for d, decision in enumerate(menu.decisions):
        made = parts_of(decision)
        own = [o for o, option in enumerate(decision.options) if option.edits and o not in made]
        changes = [o for o in own if (d, o) not in follow]
        widths = [o for o in changes if narrowed_to(decision.options[o].edits) is not None]
        if len(widths) > most_widths:
            ends = (0, len(widths) - 1) if most_widths > 1 else (len(widths) // 2,) * 2
            picked = {widths[i] for i in np.linspace(*ends, most_widths).round().astype(int)}
            changes = [o for o in changes if o in picked or o not in widths]
        found |= {(d, o): decision.options[o].edits for o in changes}
    return found


def _table(
    d: int, decision: Decision, found: Mapping[Choice, float], lost: Mapping[Choice, float]
) -> NDArray[np.float64]:
    """Damage of each option of a decision; widths that were not measured lie between those that were, or beyond."""
    table = np.array([found.get((d, o), 0.0) for o in range(len(decision.options))])
    widths = {o: w for o, option in enumerate(decision.options) if (w := narrowed_to(option.edits)) is not None}
    known = sorted((o for o in widths if (d, o) in found), key=widths.__getitem__)
    gaps = [o for o in widths if (d, o) not in found]
    if gaps:
        logs = np.log(np.maximum(table[known], 1e-9))
        table[gaps] = np.exp(np.interp([widths[o] for o in gaps], [widths[o] for o in known], logs))
        narrowest, widest = known[0], known[-1]
        for o in gaps:
            end = narrowest if widths[o] < widths[narrowest] else widest
            if not widths[narrowest] < widths[o] < widths[widest]:
                table[o] = scaled(table[end], lost[d, end], lost[d, o])
    return table


def _run_terms(
    menu: Menu, skips: Mapping[str, Choice], runs: Sequence[tuple[str, ...]], found: Mapping[str, float]
) -> list[Term]:
    """What each run costs beyond its blocks and the shorter runs in it, so that totals are what was measured."""
    extra: dict[tuple[str, ...], float] = {}
    for run in sorted(runs, key=len):
        singles = sum(found[key((Skip(b),))] for b in run)
        within = sum(e for r, e in extra.items() if set(r) < set(run))
        whole = found.get(
            key(tuple(map(Skip, run))), 2 * singles
        )  # not scored: neighbours harm more than they add up to
        extra[run] = whole - singles - within
    terms = []
    for run, value in extra.items():
        on = [skips[b] for b in run]
        table = np.zeros([len(menu.decisions[d].options) for d, _ in on])
        table[tuple(o for _, o in on)] = value
        terms.append(Term("damage", tuple(d for d, _ in on), table, " ".join(run)))
    return terms


def skip_runs(graph: Graph) -> list[tuple[str, ...]]:
    """Pairs and triples of residual blocks each of which reads the one before it through an identity shortcut."""
    blocks = residual_blocks(graph)
    before = {b.name: a.name for b in blocks for a in blocks if _follows(graph, b, a)}
    pairs = [(before[b.name], b.name) for b in blocks if b.name in before]
    return [*pairs, *((before[a], a, b) for a, b in pairs if a in before)]


def _follows(graph: Graph, block: Block, other: Block) -> bool:
    shortcut = graph[block.shortcut]
    return shortcut.name == other.name or (shortcut.kind in ACTIVATIONS and shortcut.inputs[0] == other.name)


def additivity(
    menu: Menu,
    network: Network,
    profile: Profile,
    repair: Floats,
    inputs: Floats,
    rng: np.random.Generator,
    n: int = 40,
    deadline: Deadline | None = None,
    *,
    task: Task = CLASSIFICATION,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and true damage, (n,) each, of random assignments of widths and skips, from light to heavy ones.

    At the deadline those that were scored by then.

    Arguments as for `damage`, whose menu and profile are wanted.
    """
    drawn = (mild_assignment(menu, rng.uniform(0.1, 0.8), rng) for _ in range(20 * n))
    picked = list(islice((a for a in drawn if any(a)), n))
    edits = [menu.edits(a) for a in picked]
    scorer = Scorer(network, profile, repair, inputs, edits, task=task, memory_mb=WHOLE_MB)
    true = [mean for mean, _ in _scored(scorer, {str(i): e for i, e in enumerate(edits)}, deadline).values()]
    predicted = np.array([menu.total("damage", a) for a in picked[: len(true)]])
    return predicted, np.array(true)


def mild_assignment(menu: Menu, share: float, rng: np.random.Generator) -> Assignment:
    """An assignment that changes a share of the decisions on structure, each by one of its milder options."""
    chosen = list(menu.as_is)
    for d, decision in enumerate(menu.decisions):
        if any(structural(option.edits) for option in decision.options) and rng.random() < share:
            skip = next((o for o, option in enumerate(decision.options) if drops(option.edits)), None)
            widths = sum(not drops(option.edits) for option in decision.options)
            chosen[d] = skip if skip is not None and rng.random() < 0.3 else int(rng.integers(0, widths // 2 + 1))
    for (a, i), (b, j) in menu.ties:
        if (chosen[a] == i) != (chosen[b] == j):
            chosen[a] = 0 if chosen[a] == i else chosen[a]
            chosen[b] = 0 if chosen[b] == j else chosen[b]
    return tuple(chosen)
