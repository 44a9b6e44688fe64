from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from chipfit.core.graph import Graph
from chipfit.device.facts import WIDTHS, Cpu, block_of, cpu, probe

STEP16 = {c: 1.0 if c == 16 else 3.0 for c in WIDTHS}
STEP8 = {c: {16: 1.0}.get(c, 2.0 if c <= 24 else 3.0) for c in WIDTHS}
SMOOTH = {c: c / 16 for c in WIDTHS}


@pytest.mark.parametrize(("stairs", "block"), [(STEP16, 16), (STEP8, 8), (SMOOTH, 4)])
def test_the_block_is_the_largest_whose_widths_are_not_worth_having(stairs: dict[int, float], block: int) -> None:
    assert block_of(stairs) == block


def test_a_staircase_as_measured_on_avx512_is_one_of_16() -> None:
    intel = (0.035, 0.0887, 0.0888, 0.0889, 0.0887)
    assert block_of(dict(zip(WIDTHS, intel, strict=True))) == 16
    amd = {16: 0.0255, 17: 0.0581, 18: 0.0620, 20: 0.0671, 22: 0.0802, 24: 0.0672, 28: 0.0673, 32: 0.0672}
    assert block_of(amd) == 16, "widths that no menu offers do not count, cheaper though they are"


def test_five_percent_is_flat_and_six_is_not() -> None:
    assert block_of({16: 1.0, 24: 2.0, 28: 2.0, 32: 2.09}) == 16
    assert block_of({16: 1.0, 24: 2.0, 28: 2.1, 32: 2.12}) == 8


def test_an_intel_processor_with_vnni(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Xeon X\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\n")
    found = cpu(path)
    assert found.model == "Xeon X"
    assert found.isa == ("avx2", "avx512", "vnni")


def test_an_arm_processor(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n")
    found = cpu(path)
    assert found.model == "0x41 0xd0b"
    assert found.isa == ("neon", "dotprod")


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    found = cpu(tmp_path / "absent")
    assert found.model
    assert found.isa == ()


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", {"avx2"}, True),
        ("AMD64", set(), True),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("x86_64", {"avx512_vnni"}, False),
        ("aarch64", {"asimd"}, False),
    ],
)
def test_weights_need_7_bits_on_x86_without_vnni(machine: str, flags: set[str], saturates: bool) -> None:
    assert Cpu("a", frozenset(flags), machine).reduce_range is saturates


def test_a_fingerprint_changes_with_what_changes_latency() -> None:
    base = Cpu("a", frozenset({"avx2"}), "x86_64")
    other = Cpu("a", frozenset({"avx2", "avx512f"}), "x86_64")
    prints = [base.fingerprint("rt 1", 1), base.fingerprint("rt 2", 1), base.fingerprint("rt 1", 2)]
    assert len({*prints, other.fingerprint("rt 1", 1)}) == 4
    assert base.fingerprint("rt 1", 1) == prints[0]


def test_probing_tells_the_precisions_apart() -> None:
    """A device on which fp32 widths are rounded up to 16 and int8 ones are not."""

    def latency(graphs: Sequence[Graph]) -> list[float]:
        def ms(graph: Graph) -> float:
            width, int8 = graph.input_shape[0], any(o.bits == 8 for o in graph)
            return float(width if int8 else -(-width // 16) * 16)

        return [ms(graph) for graph in graphs]

    found = probe(latency, (32, 8))
    assert found.channel_block == {32: 16, 8: 4}
    assert found.overhead_ms == 16.0
    assert set(found.staircase[32]) == set(WIDTHS)
