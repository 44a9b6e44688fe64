"""Networks of the operator search's benchmark, each with its menu as it is without programs, and with them.

All menus of a network are one that was opened once, with some decisions fixed: without programs each layer computes
itself, in float each site is in float. So both arms of a row have the same widths, depth, tables and damages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import small_transformers
from bench import Bench
from cifar import cifar_networks
from harness import Rows

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.data import fashion_mnist
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.evaluate.grown import offered
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.start import Start, open_start
from chipfit.evaluate.timing import Timing
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry
from chipfit.recipes.gos import searched
from chipfit.recipes.settings import Settings
from chipfit.space.menu import Decision, Option
from chipfit.store.memory import MeasurementTable

FASHION_EPOCHS, CIFAR_EPOCHS = 4.0, 12.0


@dataclass(frozen=True)
class Case:
    """A network of a data set."""

    data: str
    model: str

    @property
    def name(self) -> str:
        """How the keys of its rows begin."""
        return f"{self.data} {self.model}"


VGG6, RESNET20, MOBILENET, VIT = (Case("fashion", m) for m in ("vgg6", "resnet20", "mobilenetv2", "vit"))
CIFAR20, CIFAR56 = (Case("cifar", m) for m in ("resnet20", "resnet56"))
SIX = (RESNET20, VGG6, CIFAR20, CIFAR56, MOBILENET, VIT)


@dataclass(frozen=True)
class Bits:
    """The precisions of a menu, by the word that keys have for them."""

    word: str
    of: tuple[int, ...]


FLOAT, BOTH = Bits("fp32", (32,)), Bits("int8", (32, 8))


class Cases:
    """The benches of both data sets on one device, and the menus that were opened."""

    def __init__(self, rows: Rows, memory: MeasurementTable, device: OnnxRuntime) -> None:
        self.rows, self.memory, self.device = rows, memory, device
        self._benches: dict[str, Bench | None] = {}
        self._starts: dict[Case, Start] = {}

    def bench(self, case: Case) -> Bench | None:
        """The bench of a case; None where its data or its network is not here."""
        if case.data not in self._benches:
            make: Callable[[], tuple[Dataset, Sequence[Entry]] | None] = (
                fashion if case.data == "fashion" else cifar_networks
            )
            self._benches[case.data] = self._made(case.data, make())
        found = self._benches[case.data]
        return found if found is not None and case.model in found.entries else None

    def _made(self, name: str, parts: tuple[Dataset, Sequence[Entry]] | None) -> Bench | None:
        if parts is None:
            return None
        dataset, entries = parts
        epochs = FASHION_EPOCHS if name == "fashion" else CIFAR_EPOCHS
        timing = Timing(self.device, self.memory)
        return Bench(name, dataset, {e.name: e for e in entries}, timing, self.memory, self.rows, epochs)

    def start(self, case: Case, bits: Bits, *, programs: bool) -> Start:
        """The opened menu of a case, in these precisions, with or without programs."""
        fixed = [kind for kind, free in (("precision", bits is BOTH), ("swap", programs)) if not free]
        return as_it_is(self.whole(case), fixed)

    def whole(self, case: Case) -> Start:
        """The opened menu of a case with all that may change; how long it took to open is a row."""
        if case not in self._starts:
            bench, began = self.bench(case), time.monotonic()
            assert bench is not None
            self._starts[case] = opened(bench, case.model)
            self.rows.get(f"{case.name}/search s", lambda: {"s": time.monotonic() - began})
        return self._starts[case]

    def reference_ms(self, case: Case, bits: Bits) -> float:
        """Milliseconds of the untouched network: in float, or in the better of float and int8."""
        bench = self.bench(case)
        assert bench is not None
        network = bench.entries[case.model].network
        graphs = [network.graph, *([all_int8(network).graph] if bits is BOTH else [])]
        key = f"{case.name}/reference {bits.word}"
        return float(
            self.rows.get(key, lambda: {"ms": min(m.value for m in bench.timing.graphs(graphs, "final"))})["ms"]
        )


def opened(bench: Bench, model: str) -> Start:
    """The menu of a network with all that may change; programs as the recipe offers them, in float and in both."""
    entry = bench.entries[model]
    programs: dict[str, tuple[str, ...]] = {}
    for bits in (FLOAT, BOTH):
        settings = Settings((), bits=bits.of, programs="known")
        found = offered(searched(entry, bench.dataset, bench.timing, settings, Deadline.never()).grown)
        programs |= {layer: tuple(dict.fromkeys((*programs.get(layer, ()), *texts))) for layer, texts in found.items()}
    print(f"    {model}: programs for {len(programs)} layers, {sum(map(len, programs.values()))} in all", flush=True)
    return open_start(entry, bench.dataset, bench.timing, bits=BOTH.of, programs=programs)


def as_it_is(start: Start, kinds: Collection[str]) -> Start:
    """The start with a menu in which decisions of these kinds have the one option that changes nothing."""
    return only(start, lambda decision, option: decision.kind not in kinds)


def only(start: Start, allowed: Callable[[Decision, Option], bool]) -> Start:
    """The start with a menu of what changes nothing and of those options that are allowed."""
    menu = start.menu
    left = [[o for o, option in enumerate(d.options) if o == 0 or allowed(d, option)] for d in menu.decisions]
    pairs = zip(menu.decisions, left, strict=True)
    decisions = tuple(replace(d, options=tuple(d.options[o] for o in at)) for d, at in pairs)
    terms = tuple(replace(t, table=t.table[np.ix_(*(left[d] for d in t.on))] if t.on else t.table) for t in menu.terms)
    ties = tuple(
        ((a, left[a].index(i)), (b, left[b].index(j)))
        for (a, i), (b, j) in menu.ties if i in left[a] and j in left[b]
    )  # fmt: skip
    return replace(start, menu=replace(menu, decisions=decisions, terms=terms, ties=ties))


@cache
def fashion() -> tuple[Dataset, list[Entry]]:
    """Networks of the Fashion-MNIST zoo, and its ViT where `small_transformers.py` has trained it."""
    dataset, entries = fashion_mnist.load(), list(load_models(["zoo:fashion-mnist"]))
    weights = small_transformers.WEIGHTS / "vit.safetensors"
    if not weights.is_file():
        print("the ViT's rows need its weights, which small_transformers.py trains: skipped")
        return dataset, entries
    (vit,) = load_models([f"{small_transformers.__file__}:vit"], weights=[weights], dataset=dataset)
    return dataset, [*entries, replace(vit, name="vit")]
