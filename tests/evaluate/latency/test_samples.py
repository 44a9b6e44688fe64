"""Samples as people write them: what is meant is read, and what cannot be meant is told with its name and distance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.samples import Samples, check_samples, read_samples
from chipfit.evaluate.latency.tables import Table, merged, read_arrays, read_table, write_table

N = 40


def table(**arrays: object) -> Table:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (N, 6))
    values = np.exp(codes @ rng.uniform(0, 0.3, (6, 3))) * np.array([1.0, 3.0, 0.5])
    return Table(
        tuple(f"net{i}" for i in range(N)), ("a", "b", "c"), values, "latency_ms", Genes(codes, ("x", "y", "z"))
    )


def written(path: Path, text: str) -> Samples:
    (path / "few.csv").write_text(text, encoding="utf-8")
    return read_samples(path / "few.csv")


def test_decimal_commas_are_read_where_semicolons_part_the_columns(tmp_path: Path) -> None:
    found = written(tmp_path, "name;latency_ms\nnet0;5,70506\nnet1;6.5\n")
    assert dict(found.values) == {"net0": 5.70506, "net1": 6.5}
    assert dict(written(tmp_path, "name\tlatency_ms\nnet0\t5,5\n").values) == {"net0": 5.5}
    with pytest.raises(BadInput, match=r"line 2: c5014,5,70506 has 3 columns for the header's 2; write dec"):
        written(tmp_path, "name,latency_ms\nc5014,5,70506\n")


def few(of: Table, device: int = 0, rows: range = range(12), times: float = 1.7) -> dict[str, float]:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.05, len(rows)))
    return {of.names[i]: float(times * of.values[i, device] * e) for i, e in zip(rows, noise, strict=True)}


@pytest.mark.parametrize("factor", [1000.0, 1e-3, 1e6])
def test_one_sample_in_another_unit_is_named(factor: float) -> None:
    known = table()
    values = few(known)
    check_samples(Samples(values, "latency_ms"), known, "few.csv")
    values["net7"] *= factor
    with pytest.raises(BadInput, match=r"few.csv: net7 is .* latency_ms, \d+ times off what the others make likely"):
        check_samples(Samples(values, "latency_ms"), known, "few.csv")
    check_samples(Samples(values, "latency_ms"), known, "few.csv", as_written=True)


def test_one_sample_in_another_unit_is_named_without_any_device() -> None:
    known = table().without(("a", "b", "c"))
    values = few(table())
    check_samples(Samples(values, "latency_ms"), known, "few.csv")
    values["net3"] *= 1e3
    with pytest.raises(BadInput, match="net3 is"):
        check_samples(Samples(values, "latency_ms"), known, "few.csv")


def test_energies_are_learnt_beside_latencies() -> None:
    known = table()
    rows, values = check_samples(Samples(few(known, times=800.0), "energy_mj"), known, "few.csv")
    assert len(rows) == len(values) == 12
    for other in ("latency_us", "seconds", "ms"):
        with pytest.raises(BadInput, match=f"holds {other}, the tables latency_ms; give samples in latency_ms"):
            check_samples(Samples(few(known, times=1000.0), other), known, "few.csv")


@pytest.mark.parametrize("digits", [3, 4, 6, 12])
def test_a_sources_own_column_is_told_at_any_number_of_digits(digits: int) -> None:
    known = table()
    values = {name: float(f"{v:.{digits}e}") for name, v in zip(known.names[:8], known.values[:8, 1], strict=True)}
    with pytest.raises(BadInput, match="has the values of device 'b' itself; leave that out with --without b"):
        check_samples(Samples(values, "latency_ms"), known, "few.csv")


CELL = np.array([[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]])


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"edges": CELL - 1}, "edges must be whole numbers from 0"),
        ({"edges": CELL.astype(str)}, "edges must be whole numbers"),
        ({"edges": CELL + 0.5}, "edges must be whole numbers"),
        ({"edges": np.where(CELL == 3, 99, CELL)}, "no edge touches node 3 of 0 to 99"),
        ({"edges": np.where(CELL == 3, 10**12, CELL)}, "edges must be whole numbers from 0 to 999"),
        ({"edges": CELL[:, ::-1]}, "edge 1 to 0 does not lead to a later node"),
        ({"edges": CELL[:4]}, r"edges of shape \(4, 2\) are not two nodes for each of 6 genes"),
        ({"stages": np.array([0, 0, 1])}, r"stages of shape \(3,\) are not one whole number"),
        ({"stages": np.array([0, 0, 1, 1, 2, -2])}, "stages of shape"),
        ({"costs": np.ones((3, 2))}, r"costs of shape \(3, 2\) are neither \(networks, costs\), here \(40, ...\)"),
        ({"costs": np.zeros((N, 1))}, "network 1 has 0 cost 1, which is not above zero"),
        ({"costs": np.ones((N, 1)), "cost_names": np.array(["MACs", "more"])}, "an entry for each of 1 costs"),
        ({"costs": np.full((N, 1), "a")}, "costs of shape"),
        ({"names": np.array(["", *(f"net{i}" for i in range(1, N))])}, "network 1 has no name"),
        ({"devices": np.array(["a", "b", " "])}, "device 3 has no name"),
        ({"operators": np.array(["x", "x", "z"])}, "operators must be names, each once"),
        ({"genes": np.zeros((N, 6)) + 0.5}, "are not whole numbers"),
    ],
)
def test_arrays_that_are_no_table(tmp_path: Path, changed: dict[str, np.ndarray], line: str) -> None:
    np.savez(tmp_path / "t.npz", **{**table().to_arrays(), **changed})
    with pytest.raises(BadInput, match=line):
        read_table(tmp_path / "t.npz")


def test_an_object_array_is_told_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **{**table().to_arrays(), "devices": np.array(["a", "b", None], object)})
    with pytest.raises(BadInput, match="array 'devices' holds Python objects; give text or numbers"):
        read_arrays(tmp_path / "t.npz")


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipfit.evaluate.latency.tables.MOST_MB", 1)
    np.savez_compressed(tmp_path / "t.npz", values=np.zeros(1_000_000))
    with pytest.raises(BadInput, match="unpacks to 8 MB; give one of at most 1 MB"):
        read_arrays(tmp_path / "t.npz")


@pytest.mark.parametrize(
    "extra",
    [
        {"costs": np.arange(1.0, N + 1)[:, None], "cost_names": np.array(["MACs"])},
        {
            "costs": np.arange(1, 37).reshape(2, 6, 3),
            "cost_fixed": np.array([7.0, 9.0]),
            "stages": np.arange(6) // 2,
        },
        {"edges": CELL, "costs": np.ones((1, 6, 3))},
    ],
)
def test_costs_and_stages_come_back_and_stay_with_their_networks(tmp_path: Path, extra: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "t.npz", **{**table().to_arrays(), **extra})
    read = read_table(tmp_path / "t.npz")
    write_table(tmp_path / "again.npz", read)
    again = read_table(tmp_path / "again.npz")
    for name, array in read.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)
    halves = [read.take(range(0, N // 2)), read.take(range(N // 2, N))]
    whole = merged(halves, ["one", "two"])
    assert isinstance(whole.networks, Genes)
    assert isinstance(read.networks, Genes)
    for block, values in read.networks.encoded(read.names).blocks.items():
        np.testing.assert_allclose(whole.networks.encoded(whole.names).blocks[block], values)
    with pytest.raises(BadInput, match="has networks of another space"):
        merged([read, replace(table(), names=tuple(f"other{i}" for i in range(N)))], ["one", "two"])
