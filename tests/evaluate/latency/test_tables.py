"""Files of timings: what is written is read back, and what no predictor can learn from is said in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, op
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.samples import Samples, check_samples, read_samples, write_samples
from chipfit.evaluate.latency.tables import Table, merged, read_table, write_table
from chipfit.store import atomic


def graph(width: int) -> Graph:
    image = op("input", "input", (), (3, 8, 8))
    conv = op(
        "conv", "conv", ("input",), (width, 8, 8), "conv",
        kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, bias=1,
    )  # fmt: skip
    return Graph((image, conv), "conv")


def table(n: int = 8, devices: tuple[str, ...] = ("phone", "board")) -> Table:
    values = np.outer(np.arange(1, n + 1), 1 + np.arange(len(devices))) + 0.1 * np.arange(len(devices))
    return Table(
        tuple(f"net{i}" for i in range(n)), devices, values, "latency_ms", tuple(graph(8 + i) for i in range(n))
    )


def genes(n: int = 8) -> Table:
    codes = np.random.default_rng(0).integers(0, 3, (n, 4))
    values = np.arange(1.0, n + 1)[:, None]
    edges = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])
    return Table(tuple(map(str, range(n))), ("d",), values, "cycles", Genes(codes, ("none", "conv", "pool"), edges))


@pytest.mark.parametrize("whole", [table(), table(devices=()), genes()])
def test_a_table_comes_back_as_it_was(whole: Table, tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz", whole)
    found = read_table(tmp_path / "t.npz")
    assert (found.names, found.devices, found.metric) == (whole.names, whole.devices, whole.metric)
    np.testing.assert_array_equal(found.values, whole.values)
    if isinstance(whole.networks, Genes):
        assert isinstance(found.networks, Genes)
        np.testing.assert_array_equal(found.networks.codes, whole.networks.codes)
        assert found.networks.alike(whole.networks)
    else:
        assert found.networks == whole.networks


def test_missing_values_stay_missing(tmp_path: Path) -> None:
    whole = table()
    whole.values[3, 1] = np.nan
    write_table(tmp_path / "t.npz", whole)
    assert np.isnan(read_table(tmp_path / "t.npz").values[3, 1])


def test_a_crash_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "t.npz"
    write_table(place, table())

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_table(place, table(5))
    assert len(read_table(place)) == 8


def _column(n: int, values: object) -> Callable[[Table], Table]:
    def changed(t: Table) -> Table:
        made = t.values.copy()
        made[:, n] = values
        return replace(t, values=made)

    return changed


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda t: replace(t, names=("net0", *t.names[:-1])), r"names network 'net0' twice"),
        (lambda t: replace(t, devices=("phone", "phone")), r"names device 'phone' twice"),
        (_column(0, -1.0), r"device 'phone' has the value -1, which is not above zero"),
        (_column(0, np.inf), r"device 'phone' has the value inf"),
        (_column(0, 3.0), r"device 'phone' has the same value 3 throughout"),
        (_column(0, np.nan), r"device 'phone' has no value"),
        (lambda t: _column(1, t.values[:, 0])(t), r"device 'board' has the values of 'phone'"),
    ],
)
def test_what_teaches_nothing_is_refused(spoil: Callable[[Table], Table], line: str, tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz", spoil(table()))
    with pytest.raises(BadInput, match=line) as e:
        read_table(tmp_path / "t.npz")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"values": None}, "has no array 'values'"),
        ({"values": np.ones((3, 3))}, r"values of shape \(3, 3\) are not numbers for 8 networks on 2 devices"),
        ({"values": np.full((8, 2), "fast")}, "are not numbers"),
        ({"graphs": None}, "does not say what its networks are"),
        ({"graphs": np.array(["{}"])}, "has 1 graphs for 8 names"),
        ({"graphs": np.array(["no json"] * 8)}, "graph 1 is not the JSON of a Graph"),
        ({"graphs": np.array([graph(8).to_json().replace('"conv", "conv"', '"conv", "cnv"')] * 8)}, "kind 'cnv'; did"),
    ],
)
def test_files_that_are_no_tables(arrays: dict[str, np.ndarray | None], line: str, tmp_path: Path) -> None:
    whole = table().to_arrays() | arrays
    np.savez(tmp_path / "t.npz", **{k: v for k, v in whole.items() if v is not None})
    with pytest.raises(BadInput, match=line):
        read_table(tmp_path / "t.npz")


def test_an_operator_that_is_none(tmp_path: Path) -> None:
    arrays = genes().to_arrays()
    arrays["genes"][2, 1] = 7
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(BadInput, match="row 3 has operator 7 at position 2, unknown; operators are 0 to 2: none, conv"):
        read_table(tmp_path / "t.npz")


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        read_table(tmp_path / "none.npz")
    (tmp_path / "t.npz").write_text("text")
    with pytest.raises(BadInput, match="no numpy archive"):
        read_table(tmp_path / "t.npz")
    np.savez(tmp_path / "o.npz", names=np.array([{"a": 1}], object))
    with pytest.raises(BadInput, match="array 'names' holds Python objects"):
        read_table(tmp_path / "o.npz")


def test_tables_are_merged_by_name() -> None:
    a, b = table(6, ("phone",)), replace(table(8, ("board",)), values=np.arange(2.0, 10.0)[:, None] ** 2)
    whole = merged([a, b], ["a", "b"])
    assert whole.devices == ("phone", "board")
    assert whole.names == b.names
    assert np.isnan(whole.values[6:, 0]).all()
    np.testing.assert_array_equal(whole.values[:, 1], b.values[:, 0])


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (replace(table(), metric="energy_mj"), "b holds energy_mj, the table before it latency_ms"),
        (replace(genes(), metric="latency_ms"), "b has networks of another space"),
        (replace(table(), networks=tuple(graph(40 + i) for i in range(8))), "b has another network named 'net0'"),
    ],
)
def test_tables_that_do_not_go_together(other: Table, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        merged([table(), other], ["a", "b"])


def test_samples_come_back_and_blanks_are_left_out(tmp_path: Path) -> None:
    write_samples(tmp_path / "few.csv", {"net0": 1.5, "net1": None, "net2": 2.25}, "latency_ms")
    found = read_samples(tmp_path / "few.csv")
    assert (dict(found.values), found.metric, found.table) == ({"net0": 1.5, "net2": 2.25}, "latency_ms", None)


def test_samples_may_bring_their_networks(tmp_path: Path) -> None:
    write_table(tmp_path / "few.npz", table(6, ("new",)))
    found = read_samples(tmp_path / "few.npz")
    assert found.table is not None
    assert found.table.devices == ()
    assert found.values["net2"] == 3.0
    write_table(tmp_path / "two.npz", table())
    with pytest.raises(BadInput, match="has 2 devices"):
        read_samples(tmp_path / "two.npz")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "begins with nothing; its header must be like name,latency_ms"),
        ("network;ms\n", "begins with network,ms"),
        ("name,latency_ms\nnet0,fast\n", "line 2: 'fast' is not a number"),
        ("name,latency_ms\nnet0,nan\n", "line 2: nan is not a positive number"),
        ("name,latency_ms\nnet0,1\nnet1,-2\n", "line 3: -2 is not a positive number"),
        ("name,latency_ms\nnet0,1\nnet0,2\n", "line 3: network 'net0' stands there twice"),
    ],
)
def test_samples_that_are_none(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text(text)
    with pytest.raises(BadInput, match=line):
        read_samples(tmp_path / "few.csv")


def samples(values: dict[str, float], metric: str = "latency_ms") -> Samples:
    return Samples(values, metric)


GOOD = {f"net{i}": 1.0 + i**1.5 for i in range(6)}


@pytest.mark.parametrize(
    ("few", "line"),
    [
        (samples(GOOD, "latency_us"), "few holds latency_us, the tables latency_ms"),
        (samples(dict(list(GOOD.items())[:4])), "few has 4 samples; at least 5 are needed"),
        (samples(dict.fromkeys(GOOD, 2.0)), "few has the same value 2 throughout"),
        (samples(GOOD | {"net99": 3.0}), "network 'net99' is in no table; did you mean 'net"),
        (samples({k: 1000 * v for k, v in GOOD.items()}), "lie .* times above those of every device .* --as-written"),
        (samples({k: v / 1000 for k, v in GOOD.items()}), "lie .* times below those of every device"),
        (
            samples({f"net{i}": 1.0 + i for i in range(6)}),
            "has the values of device 'phone' itself; .* --without phone",
        ),
    ],
)
def test_samples_that_fit_no_predictor(few: Samples, line: str) -> None:
    with pytest.raises(BadInput, match=line) as e:
        check_samples(few, table(), "few")
    assert "\n" not in str(e.value)


def test_samples_in_order_of_their_file() -> None:
    rows, values = check_samples(samples(dict(reversed(GOOD.items()))), table(), "few")
    assert rows == [5, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(values, list(reversed(GOOD.values())))
    many = samples({k: 1000 * v for k, v in GOOD.items()})
    assert check_samples(many, table(), "few", as_written=True)[1][0] == 1000.0
