"""A whole fit on little data: it works from 16 training inputs on, says how sure it is, and never uses a NaN."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.cli.app import main
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.device.null import Null
from chipfit.evaluate.start import open_start
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.nets.zoo import Entry
from chipfit.store.memory import MeasurementTable
from chipfit.store.store import Store

MODEL = """
import numpy as np
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.Conv2d(64, 64, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))
    with torch.no_grad():
        net[-1].weight.mul_(40)
    return net

def loaders():
    y = np.arange(ROWS) % CLASSES
    x = np.random.default_rng(0).normal(size=(ROWS, 1, 16, 16)).astype(np.float32) + y[:, None, None, None]
    return dict(train=[(x, y)] if LABELLED else [x])
"""


def fitted(folder: Path, rows: int, *, labelled: bool, train: bool, classes: int = 3) -> int:
    head = f"ROWS, CLASSES, LABELLED = {rows}, {classes}, {labelled}\n"
    (folder / "mine.py").write_text(head + MODEL)
    spec, out = f"{folder}/mine.py", str(folder / "run")
    how = ("--epochs", "20") if train else ("--no-train",)
    limit = ("--max", "latency_ms=80%")
    return main(["fit", f"{spec}:build", "--data", f"{spec}:loaders", "--device", "null", *limit, *how,
                 "--no-baselines", "--out", out, "--json"])  # fmt: skip


def notes_of(folder: Path) -> str:
    with Store(folder / "run", read_only=True) as store:
        fact = store.fact("dataset")
        assert isinstance(fact, dict)
        assert store.finished
        return "; ".join(map(str, fact["notes"]))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


CASES = [(20, True, False), (60, False, False)]
LONG = [c for c in product((20, 60, 200, 1000, 1025, 1216), (True, False), (True, False)) if c[1] or not c[2]]


@pytest.mark.long
@pytest.mark.parametrize(
    ("rows", "labelled", "train"),
    [*CASES, *(pytest.param(*c, marks=pytest.mark.slow) for c in LONG if c not in CASES)],
)
def test_a_fit_on_few_rows_ends_in_a_file_and_says_how_sure_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, labelled: bool, train: bool
) -> None:
    assert fitted(tmp_path, rows, labelled=labelled, train=train) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert "NaN" not in said.out
    assert "damage of mine-build rests on" in said.err
    assert "(standard error)" in said.err
    assert "damage of mine-build rests on" in notes_of(tmp_path)
    assert ("accuracy of 50 % on them is known to ±" in notes_of(tmp_path)) == (labelled and rows <= 1000)
    assert list((tmp_path / "run" / "best").iterdir())


def test_too_few_rows_are_one_line_that_says_how_many_are_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitted(tmp_path, 15, labelled=False, train=False) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert "at least 16 are needed" in line


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 1, 12, 12)).astype(np.float32)


def dataset(n: int) -> Dataset:
    part = Split(pictures(n))
    return Dataset("noise", (), (0.0,), (1.0,), part, Split(pictures(4, 1)), lambda: Split(pictures(4, 2)))


def network(scale: float = 40.0) -> Network:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 3)
    )
    with torch.no_grad():
        net[-1].weight.mul_(scale)
    return trace(net.eval(), (1, 12, 12))


def opened(n: int, net: Network, tmp_path: Path):  # type: ignore[no-untyped-def]
    table = MeasurementTable.open(tmp_path / "measured.db")
    timing = Timing(Null(), table)
    return open_start(Entry("guest", net, "unknown", "test"), dataset(n), timing, bits=(32,))


def test_a_dense_layer_of_more_columns_than_inputs_has_finite_damages_with_an_error(tmp_path: Path) -> None:
    """1,024 columns and 10 inputs to compensate on: H has rank 10 beside its ridge."""
    start = opened(18, network(), tmp_path)
    assert start.profile.scored == 8
    assert start.parts.overlapping
    assert start.unsure
    damages = np.array(list(start.profile.damage.values()))
    assert np.isfinite(damages).all()
    assert damages.max() > 0.01
    errors = np.array([start.profile.errors[k] for k in start.profile.damage])
    assert (errors[damages > 1e-3] > 0).all()
    assert 0.02 < start.profile.uncertainty < 3
    heaviest = tuple(len(d.options) - 1 for d in start.menu.decisions)
    assert np.isfinite(start.true_damage(heaviest))
    assert np.isfinite(start.confirmed_damage(heaviest))
    assert all(np.isfinite(a).all() for a in start.repaired(heaviest).weights.values())


def test_more_inputs_make_it_surer(tmp_path: Path) -> None:
    few, many = (opened(n, network(), tmp_path / str(n)).profile for n in _folders(tmp_path, 30, 600))
    assert few.scored < many.scored
    assert many.uncertainty < few.uncertainty


def _folders(tmp_path: Path, *ns: int) -> tuple[int, ...]:
    for n in ns:
        (tmp_path / str(n)).mkdir()
    return ns


def test_a_search_that_would_be_blind_is_refused_with_the_models_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="model 'guest' answers NaN or infinite values") as caught:
        opened(40, network(np.inf), tmp_path)
    assert "\n" not in str(caught.value)
