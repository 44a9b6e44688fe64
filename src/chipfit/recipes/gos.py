"""Grassroots operator search on the flow of `fit`: programs for what is slow on the device, on the menu with all else.

Source: Benmeziane et al., arXiv 2309.11246. Its steps, and what differs:

    analysis     operators ranked by what they take on the device; batch norms folded, as they are in files (`slowest`)
    adaptation   programs for layers that are alike, from seeds and those that were good before, evolved up a ladder of
                 looks (`grown`) in place of a fine-tune of each; the harm after repair tells the last ones apart
    replacement  by the exact solver, jointly with widths, depth and bits, in place of one operator after the other
    fine-tune    once, of whole designs (`refine`)

A network for which no program is worth it has the menu that it would have without, and the report says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.forward import affordable
from chipfit.compress.hessian import hessians
from chipfit.compress.profile import Profile
from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.graph import Network
from chipfit.core.types import Plain
from chipfit.core.words import number_of
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.grown import SCORED as MOST_SCORED
from chipfit.evaluate.grown import Grown, Prices, confirmed, evolved, kinds, offered
from chipfit.evaluate.in_time import PER_INPUT, pass_s
from chipfit.evaluate.ladder import rank_correlation
from chipfit.evaluate.looks import Looks
from chipfit.evaluate.program_score import Scores
from chipfit.evaluate.slowest import Slow, slowest
from chipfit.evaluate.ticker import quiet
from chipfit.evaluate.timing import Latencies
from chipfit.export.formats import FORMATS
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Settings
from chipfit.recipes.state import Run
from chipfit.space.program import Program, parse
from chipfit.space.program.canonical import structural_hash
from chipfit.space.program.seeds import seeds
from chipfit.space.program.words import place_words
from chipfit.space.programmed import refusals
from chipfit.store.arrays import Arrays
from chipfit.store.programs import ProgramLibrary, Use

CHILDREN: Mapping[str, int] = {"known": 0, "evolved": 60}
"""By how much is asked for: programs that are varied for each kind of layer, beside those that are known."""

SHARE: Mapping[str, float] = {"known": 0.15, "evolved": 0.35}
"""Of the time for a menu, the same."""

INPUTS, SCORED = 256, 128
"""Calibration inputs that programs are fitted on, and those that the harm they do is told by."""

ERRORS_ON = 96
"""Of the first, those that errors of single layers are told by."""

VALUES_MB = 600.0
"""For what layers read and make on these."""

FEWEST = 32
"""Inputs for either that are taken in any case, however short the time."""

FITTED_SHARE, GROWN_SHARE = 0.3, 0.6
"""Of the time for programs, for second moments; of what is then left, until candidates are tried in the network."""

SHOWN = 12
"""Operators that the report ranks."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Search:
    """What became of one network: its slowest operators, candidates looked at, and what is offered.

    `why` nothing is; `short` is what else the time was too short for, in words.
    """

    slow: tuple[Slow, ...]
    tried: int
    grown: tuple[Grown, ...]
    why: str
    short: str = ""


def programs(run: Run, entry: Entry, until: Deadline, known: Arrays | None) -> dict[str, tuple[str, ...]]:
    """The programs that may compute layers of a model, by layer; a run that is taken up again has those of before.

    `known` is a profile that was stored before.
    """
    fact = f"programs of {entry.name}"
    stored = cast(dict[str, list[str]] | None, run.store.fact(fact))
    if stored is None:

        def tell(line: str) -> None:
            run.progress("menu", f"{entry.name}: {line}")

        part = until.share(SHARE[run.settings.programs])
        search = searched(
            entry, run.dataset, run.timing, run.settings, part, known=known, library=run.library, tell=tell
        )
        stored = {layer: list(texts) for layer, texts in offered(search.grown).items()}
        run.store.set_fact(fact, cast(Plain, stored))
        told = cast(dict[str, Plain], run.store.fact("operators") or {})
        run.store.set_fact("operators", cast(Plain, {**told, entry.name: _plain(entry, search)}))
        count = len({text for texts in stored.values() for text in texts})
        tell(search.why or f"{number_of(count, 'program')} may compute {number_of(len(stored), 'layer')}")
        if search.short:
            tell(search.short)
    return {layer: tuple(texts) for layer, texts in stored.items()}


def searched(
    entry: Entry,
    dataset: Dataset,
    timing: Latencies,
    settings: Settings,
    until: Deadline,
    *,
    known: Arrays | None = None,
    library: ProgramLibrary | None = None,
    tell: Callable[[str], None] = quiet,
) -> Search:
    """Analysis and adaptation of one network; what is found good is put into the library.

    `known` is a profile that was stored before.
    """
    slow = slowest(entry.network.graph, timing.each[0][0])
    if slow:
        tell(f"the slowest operator is {slow[0].op}, {100 * slow[0].share:.0f} % of the time")
    if any(designing(one.device) is not None for one, _ in timing.each):
        return Search(slow, 0, (), "on hardware that is designed along, layers compute themselves")
    of_kinds = kinds(entry.network.graph, slow, settings.keep)
    if not of_kinds:
        return Search(slow, 0, (), _nothing_to_replace(entry, settings.keep, slow))
    profile, inputs = _profile(entry, dataset, settings.seed, known, until.share(FITTED_SHARE))
    network, prices = profile.of(entry.network), Prices(timing, settings.bits, until)
    layers = [alike.layers[0] for alike in of_kinds]
    scores = Scores(network, layers, inputs[: _errors_on(network)], profile.hessians)
    block = timing.facts.channel_block.get(32, 1)
    formats = frozenset(one.device.format for one, _ in timing.each) & FORMATS.keys()
    found = [Looks(alike, scores, prices, block, formats) for alike in of_kinds]
    device, growing_until = timing.facts.fingerprint, until.share(GROWN_SHARE)
    tried, cut = _grow(found, CHILDREN[settings.programs], device, library, settings.seed, growing_until, tell)
    n = _scored_in_time(network, found, until)
    trying = _Part(until)
    grown = confirmed(network, profile, found, inputs[:n], inputs[-n:], prices, trying.over, task=dataset.task)
    _keep(library, device, timing.facts.name, grown)
    short = _cut_short(cut, len(found), trying.cut)
    if grown:
        return Search(slow, tried, grown, "", short)
    unseen = trying.cut or (cut and not tried)
    return Search(slow, tried, (), short) if unseen else Search(slow, tried, (), _nothing_good(found), short)


def _grow(
    found: Sequence[Looks],
    children: int,
    device: str,
    library: ProgramLibrary | None,
    seed: int,
    until: Deadline,
    tell: Callable[[str], None],
) -> tuple[int, int]:
    """Programs for each kind of layer in turn, crossed with what was good at those before it.

    Each has a part of the time as its layers have of the network's; what one leaves is for those after it.

    Returns:
        How many programs were looked at, and for how many kinds the time was too short for more.
    """
    rng, tried, cut, good = np.random.default_rng(seed), 0, 0, list[Program]()
    for n, looks in enumerate(found):
        part = _Part(until.share(looks.alike.share / sum(those.alike.share for those in found[n:])))
        begun = [*seeds(looks.alike.place), *_remembered(library, device)]
        tried += evolved(looks, begun, good, children, rng, part.over)
        cut += part.cut
        good += [parse(text) for text in looks.trades()]
        kinds_of = number_of(len(found), "kind")
        tell(f"{number_of(tried, 'program')} looked at for {n + 1} of {kinds_of} of layers")
    return tried, cut


@dataclass(slots=True)
class _Part:
    """Time for a part of the search; `cut` where it was over before that was done."""

    until: Deadline
    cut: bool = False

    def over(self) -> bool:
        """True once it is over; asked before each program."""
        self.cut = self.until.passed()
        return self.cut


def _scored_in_time(network: Network, found: Sequence[Looks], until: Deadline) -> int:
    """Inputs to repair candidates on, and as many to tell their harm by, that there is time for."""
    if not until.limited:
        return SCORED
    passes = 2 * max(1, sum(min(MOST_SCORED, len(looks.trades())) for looks in found))
    return min(SCORED, max(FEWEST, int(until.left() / (passes * pass_s(network)))))


def _errors_on(network: Network) -> int:
    """Inputs that errors of single layers are told by: fewer where maps are large."""
    return min(ERRORS_ON, max(2, affordable(network.graph, VALUES_MB)))


def _profile(
    entry: Entry, dataset: Dataset, seed: int, known: Arrays | None, until: Deadline
) -> tuple[Profile, Floats]:
    """Second moments of the network's layers, and normalised inputs: those to fit on, then those to tell harm by."""
    n = min(INPUTS + SCORED, len(dataset.train))
    inputs = dataset.normalise(dataset.calibration(n).inputs)
    inputs = inputs[np.random.default_rng(1).permutation(len(inputs))]
    if known:
        return Profile.from_arrays(known), inputs
    most = INPUTS
    if until.limited:
        most = min(INPUTS, max(FEWEST, int(until.left() / (PER_INPUT * pass_s(entry.network)))))
    moments = hessians(entry.network, inputs[:most], np.random.default_rng(seed))
    found = {name: h.float().numpy() for name, h in moments.items()}
    return Profile(entry.network.digest(), found, {}, {}), inputs


def _remembered(library: ProgramLibrary | None, device: str) -> list[Program]:
    """What the library has of this device."""
    found = []
    for known in library.programs(device) if library is not None else ():
        try:
            found.append(parse(known.text))
        except ValueError:  # of a version with other instructions
            continue
    return found


def _keep(library: ProgramLibrary | None, device: str, on: str, grown: Sequence[Grown]) -> None:
    """Puts what is offered into the library, with where it was good."""
    if library is None:
        return
    for g in grown:
        place, name = place_words(g.alike.place), structural_hash(parse(g.text))
        library.keep(Use(name, g.text, place, device, on, 1 / g.ms, g.damage))


def _nothing_to_replace(entry: Entry, keep: Sequence[str], slow: Sequence[Slow]) -> str:
    """Why there is no layer to grow programs for."""
    why = refusals(entry.network.graph, keep)
    free = {name for name, reason in why.items() if not reason}
    if free:
        share = sum(row.share for row in slow if row.op in free)
        return f"layers that programs could compute take {100 * share:.0f} % of its time, no kind of them enough"
    name = next((row.op for row in slow if row.op in why), next(iter(why), None))
    if name is None:
        return "it has no convolution and no dense layer that a program could compute"
    which = "its only layer" if len(why) == 1 else "the slowest of its layers"
    return f"a program could compute none of its layers: {which}, {name}, {why[name]}"


def _cut_short(cut: int, kinds_of: int, untried: bool) -> str:
    """What the time was too short for; empty where it was not."""
    lacking = [f"to look at all programs for {cut} of {number_of(kinds_of, 'kind')} of layers"] if cut else []
    lacking += ["to try all of them in the network"] if untried else []
    return f"the time was too short {' and '.join(lacking)}" if lacking else ""


def _nothing_good(found: Sequence[Looks]) -> str:
    """Why none of the programs that were looked at is offered."""
    if not any(looks.seen for looks in found):
        return "no program that was looked at computes a layer faster and keeps most of what it makes"
    return "no program that was looked at makes the whole network faster"


def _plain(entry: Entry, search: Search) -> dict[str, Plain]:
    """What the report says of one network."""
    graph = entry.network.graph
    return {
        "slowest": [[s.op, graph[s.op].kind, s.share, s.ms] for s in search.slow[:SHOWN]],
        "tried": search.tried,
        "programs": [
            [g.text, place_words(g.alike.place), len(g.alike.layers), g.ms, g.damage, g.whole] for g in search.grown
        ],
        "why": search.why,
        "short": search.short,
        "error_tau": rank_correlation([g.error for g in search.grown], [g.damage for g in search.grown]),
        "ms_tau": rank_correlation([g.ms for g in search.grown], [g.whole for g in search.grown]),
    }
