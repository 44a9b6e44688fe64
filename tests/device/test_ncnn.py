"""ncnn as a device: its answers are torch's, nothing is borrowed, and its profile is of the layers that ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import made_up
from chipfit.core.types import Artifact
from chipfit.device.ncnn import Ncnn
from chipfit.export.formats import timing_bytes
from chipfit.export.ncnn import write
from chipfit.nets.build import build
from chipfit.nets.zoo import load_zoo

ncnn = pytest.importorskip("ncnn")
engine = pytest.importorskip("chipfit.device.engines.ncnn")

Small = Callable[..., Artifact]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ncnn]:
    folder = made_up.calibrated(Ncnn, tmp_path_factory.mktemp("cache"))
    with Ncnn(timing_bytes, cache_dir=folder) as device:
        yield device


def test_the_worker_answers_as_torch_does(device: Ncnn) -> None:
    network = load_zoo("fashion-mnist/resnet8").network
    x = np.random.default_rng(0).standard_normal((5, 1, 28, 28), np.float32)
    with torch.no_grad():
        want = build(network)(torch.from_numpy(x)).numpy()
    assert np.abs(device.run(write(network), x) - want).max() <= 3e-5 * np.abs(want).max()


def test_a_measurement_names_the_runtime(device: Ncnn, small: Small) -> None:
    (m,) = device.measure([small(format="ncnn")], "quick")
    assert m.value > 0
    assert f"ncnn {ncnn.__version__}" in m.where
    assert device.facts().bits == (32,)


def test_what_is_bound_stays_as_it_is(small: Small) -> None:
    """The input is a copy, and layers that work in place leave it alone: a step gives the same again and again."""
    session = engine.NcnnSession(small(4, 1, 7, format="ncnn").data, 1)
    session.step()
    (first,) = session.outputs()
    for _ in range(50):
        np.full((4, 7, 7), 7, np.float32)
        session.step()
    x = np.random.default_rng(0).standard_normal((1, 4, 7, 7), np.float32)
    assert np.array_equal(session.outputs()[0], first)
    assert np.array_equal(session.answer(x, 1), first[None])


@pytest.mark.parametrize("name", ["resnet8", "lenet5", "dscnn"])
def test_a_profile_names_operators_in_running_order(name: str) -> None:
    network = load_zoo(f"fashion-mnist/{name}").network
    rows = engine.NcnnEngine(1).profile(write(network).data, 1, 3, nullcontext)
    wanted = [o.name for o in network.graph if o.kind in ("conv", "linear", "max_pool")]
    assert [name for name, *_ in rows if name in wanted] == wanted
    assert all(us >= 0 for *_, us in rows)
    assert {kind for name, kind, _ in rows if name in wanted} <= {
        "Convolution", "ConvolutionDepthWise", "InnerProduct", "Pooling"
    }  # fmt: skip


def test_a_profile_shows_where_the_time_goes(device: Ncnn, small: Small) -> None:
    rows = device.profile(small(32, 3, 28, format="ncnn"))
    assert [r.kind for r in rows] == ["conv"] * 3, "relu runs in the convolutions"
    assert all(r.macs > 0 for r in rows)


@pytest.mark.parametrize("data", [b"", b"\x00garbage" * 8, (9).to_bytes(8, "little") + b"7767517\n1"])
def test_what_is_no_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no ncnn param|does not read"):
        engine.NcnnSession(data, 1)


def test_a_bin_that_is_cut_off_is_refused(small: Small) -> None:
    with pytest.raises(ValueError, match="does not read"):
        engine.NcnnSession(small(format="ncnn").data[:-100], 1)
