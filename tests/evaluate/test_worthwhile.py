"""Programs are offered where their kernels take less than their layer's, at the better precision of each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel
from chipfit.device.null import Null
from chipfit.evaluate import worthwhile as at
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.worthwhile import cheaper_by_macs, worthwhile
from chipfit.space.program.seeds import SEPARABLE, USUAL
from chipfit.space.programmed import replaceable
from compress.networks import network_of
from made_up import Memory

LAUNCH = 1e6


def ms(kernel: Kernel) -> float:
    """A launch in any precision, and work that int8 does forty times as fast."""
    work = at.work(kernel) - 20_000
    return LAUNCH + work / (1 if kernel.bits == 32 else 40)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    def known(kernels: Sequence[Kernel], *_: object) -> dict[Kernel, float]:
        return {k: ms(k) for k in kernels}

    monkeypatch.setattr(at, "kernel_ms", known)
    return network_of("resnet8").graph


def test_what_saves_in_float_is_nothing_beside_a_launch_in_int8(graph: Graph) -> None:
    timing = Timing(Null(), Memory())
    in_float = worthwhile(graph, timing, (32,))
    assert set(in_float) <= set(replaceable(graph))
    assert any(SEPARABLE.text in texts for texts in in_float.values())
    assert worthwhile(graph, timing, (32, 8)) == {}
    assert worthwhile(graph, timing, (32,), programs=["conv(x, KxK, M)"]) == {}
    assert not any(name.startswith("4.") for name in worthwhile(graph, timing, (32,), keep=["4"]))


def test_where_no_device_is_asked_work_tells() -> None:
    graph = network_of("resnet8").graph
    found = cheaper_by_macs(graph)
    assert set(found) == set(replaceable(graph))
    assert all(set(texts) <= {p.text for p in USUAL} for texts in found.values())
    assert cheaper_by_macs(graph, programs=["conv(x, KxK, M)"]) == {}
