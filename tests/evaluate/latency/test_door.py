"""A user's table gives what the encoder gives to whoever calls it directly: the files carry all that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chipfit.api.config import Config
from chipfit.api.predict import draw, fit, run, split
from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Few, Tables
from chipfit.evaluate.latency.encode import genes
from chipfit.evaluate.latency.few_shot import FewShot
from chipfit.evaluate.latency.predict import at_least, read_predictor

N, P = 200, 6
OPERATORS = ("none", "skip_connect", "conv 1", "conv 3", "pool")
EDGES = np.array([[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]])
MACS = np.tile(np.array([0.0, 0.0, 1e6, 9e6, 0.0]), (P, 1))
FIXED = 7.8e6


@pytest.fixture(scope="module")
def space() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = np.array(sorted({tuple(c) for c in rng.integers(0, 5, (2 * N, P))}))
    codes = codes[rng.permutation(len(codes))[:N]]
    macs = MACS[np.arange(P), codes].sum(1) + FIXED
    devices = []
    for _ in range(4):
        per_operator = rng.uniform(0.05, 0.6, 5)
        devices.append((macs / 1e7) ** rng.uniform(0.6, 1.0) + per_operator[codes].sum(1))
    values = np.column_stack(devices) * np.exp(rng.normal(0, 0.01, (N, 4)))
    return {"codes": codes, "values": values}


def table(path: Path, space: dict[str, np.ndarray], **extra: object) -> str:
    np.savez(
        path, names=[f"n{i}" for i in range(N)], devices=["a", "b", "c"], values=space["values"][:, :3],
        metric="latency_ms", genes=space["codes"], operators=list(OPERATORS), edges=EDGES, **extra,
    )  # fmt: skip
    return str(path)


COSTS = {"costs": MACS[None], "cost_names": ["MACs"], "cost_fixed": [FIXED]}


def samples(path: Path, space: dict[str, np.ndarray], rows: np.ndarray) -> str:
    path.write_text("name,latency_ms\n" + "".join(f"n{i},{float(space['values'][i, 3])!r}\n" for i in rows.tolist()))
    return str(path)


def test_the_door_gives_what_the_encoder_gives(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    rows = np.sort(np.random.default_rng(3).choice(N, 20, replace=False))
    file = table(tmp_path / "t.npz", space, **COSTS)
    made = fit([file], samples(tmp_path / "few.csv", space, rows), "mine", out=tmp_path / "mine.npz")
    names = [f"n{i}" for i in range(N)]
    networks = genes(names, space["codes"], OPERATORS, edges=EDGES, costs={"MACs": (MACS, FIXED)})
    rng = np.random.default_rng(0)
    ready = FewShot().prepare(Tables(networks, ("a", "b", "c"), space["values"][:, :3]), rng)
    direct = ready.fit(Few(networks.take(rows), space["values"][rows, 3]), rng).predict(networks)
    told = run(str(tmp_path / "mine.npz"), Config(), [file]).values
    for name in ("values", "low", "high"):
        np.testing.assert_allclose(getattr(told, name), getattr(direct, name), rtol=1e-6)
    assert made.samples == 20


def test_costs_narrow_the_intervals(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    rows = np.sort(np.random.default_rng(3).choice(N, 12, replace=False))
    few = samples(tmp_path / "few.csv", space, rows)
    alone = {"devices": np.array([], str), "values": np.zeros((N, 0))}
    found = {}
    for name, extra in (("with", COSTS), ("without", {})):
        arrays = dict(np.load(table(tmp_path / f"{name}.npz", space, **extra)))
        np.savez(tmp_path / f"{name}.npz", **{**arrays, **alone})
        found[name] = fit([str(tmp_path / f"{name}.npz")], few, name, out=tmp_path / f"p-{name}.npz").half_width
    assert found["with"] < found["without"]


def test_without_sources_the_interval_is_that_of_left_out_samples(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    """Networks and samples are the same few: what is printed must not be how well they are fitted."""
    rows = np.sort(np.random.default_rng(5).choice(N, 6, replace=False))
    arrays = dict(np.load(table(tmp_path / "t.npz", space)))
    only = {"names": arrays["names"][rows], "genes": arrays["genes"][rows], "devices": np.array(["mine"])}
    np.savez(tmp_path / "few.npz", **{**arrays, **only, "values": space["values"][rows, 3:]})
    made = fit([], str(tmp_path / "few.npz"), "mine", out=tmp_path / "p.npz")
    told = read_predictor(tmp_path / "p.npz")
    fitted = told.predict_table(told.table)
    assert made.half_width > 1.5 * np.median(np.sqrt(fitted.high / fitted.low) - 1)


def test_few_samples_say_little_of_likeness(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    assert at_least(1.0, 5) < 0.54 < at_least(0.99, 20) < 0.99
    assert at_least(1.0, 3) == -1.0
    rows = np.argsort(space["values"][:, 3])[:: N // 5][:5]
    made = fit(
        [table(tmp_path / "t.npz", space)], samples(tmp_path / "f.csv", space, rows), "m", out=tmp_path / "m.npz"
    )
    assert all(s.least < 0.6 for s in made.sources)


def test_a_name_that_is_taken_is_told(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    file, few = table(tmp_path / "t.npz", space), samples(tmp_path / "few.csv", space, np.arange(20))
    assert not fit([file], few, "mine", out=tmp_path / "mine.npz").replaced
    assert fit([file], few, "mine", out=tmp_path / "mine.npz").replaced


def test_networks_are_drawn_from_tables_of_genes(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    file, out = table(tmp_path / "t.npz", space), tmp_path / "few.csv"
    first = draw([file], 20, out)
    assert len(set(first.names)) == 20
    lines = out.read_text().splitlines()
    assert lines[0] == "name,latency_ms"
    out.write_text("\n".join([lines[0], f"{lines[1].split(',')[0]},1.5", *lines[2:]]) + "\n")
    assert draw([file], 20, out).done == {"by hand": 1}
    assert f"{first.names[0]},1.5" in out.read_text()
    for n in (0, -3, 4, N + 1):
        with pytest.raises(BadInput, match=f"--n {n}: the tables hold {N} networks"):
            draw([file], n, tmp_path / "other.csv")


def test_one_device_cannot_be_split(tmp_path: Path, space: dict[str, np.ndarray]) -> None:
    arrays = dict(np.load(table(tmp_path / "t.npz", space)))
    np.savez(tmp_path / "one.npz", **{**arrays, "devices": np.array(["a"]), "values": arrays["values"][:, :1]})
    with pytest.raises(BadInput, match="the tables have 1 devices; a split needs two at least"):
        split([str(tmp_path / "one.npz")], None, None)


@pytest.mark.parametrize(
    "tampered",
    [
        {"sample_rows": np.array([0, 1, 2, 3, 10**6])},
        {"sample_rows": np.array([0, 1, 2, 3, -1])},
        {"sample_rows": np.array([0, 0, 1, 2, 3])},
        {"sample_values": np.array([1.0, 2.0, np.nan, 4.0, 5.0])},
        {"sample_values": np.array([1.0, 2.0])},
        {"sample_values": np.array(["a"] * 5)},
        {"about": np.array("[1]")},
        {"about": np.array("{")},
        {"values": np.zeros((N, 3))},
    ],
)
def test_a_tampered_predictor_is_told_in_one_line(
    tmp_path: Path, space: dict[str, np.ndarray], tampered: dict[str, np.ndarray]
) -> None:
    fit(
        [table(tmp_path / "t.npz", space)],
        samples(tmp_path / "f.csv", space, np.arange(5)),
        "m",
        out=tmp_path / "m.npz",
    )
    np.savez(tmp_path / "m.npz", **{**dict(np.load(tmp_path / "m.npz")), **tampered})
    with pytest.raises(BadInput) as told:
        read_predictor(tmp_path / "m.npz")
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_the_door_gives_what_the_benchmark_gives(shared: Path, tmp_path: Path) -> None:
    """NAS-Bench-201, a table of 600 of its networks on four devices: as benchmarks/latency_sets.py has it."""
    data = np.load(shared / "data" / "latency" / "nb201.npz")
    rows, few = np.arange(0, 15_000, 25), np.arange(0, 600, 30)
    values = np.maximum(data["latency_ms"][rows], 0.05).astype(float)
    one = sum(5 * width**2 * side**2 for width, side in ((16, 32), (32, 16), (64, 8)))
    macs = np.tile(np.array([0, 0, one, 9 * one, 0], float), (6, 1))
    operators = ["none" if o == "none" else str(o) for o in data["op_names"]]
    names = [str(i) for i in rows]
    np.savez(
        tmp_path / "t.npz", names=names, devices=data["device_names"][:4], values=values[:, :4], metric="latency_ms",
        genes=data["arch_ops"][rows], operators=operators, edges=data["edges"].astype(int), costs=macs[None],
        cost_fixed=[7.78e6],
    )  # fmt: skip
    (tmp_path / "few.csv").write_text(
        "name,latency_ms\n" + "".join(f"{names[i]},{float(values[i, 5])!r}\n" for i in few.tolist())
    )
    fit([str(tmp_path / "t.npz")], str(tmp_path / "few.csv"), "m", out=tmp_path / "m.npz")
    networks = genes(names, data["arch_ops"][rows], operators, edges=data["edges"].astype(int),
                     costs={"MACs": (macs, 7.78e6)})  # fmt: skip
    rng = np.random.default_rng(0)
    ready = FewShot().prepare(Tables(networks, tuple(map(str, data["device_names"][:4])), values[:, :4]), rng)
    direct = ready.fit(Few(networks.take(few), values[few, 5]), rng).predict(networks)
    told = run(str(tmp_path / "m.npz"), Config(), [str(tmp_path / "t.npz")]).values
    np.testing.assert_allclose(told.values, direct.values, rtol=1e-6)
    np.testing.assert_allclose(told.high, direct.high, rtol=1e-6)
