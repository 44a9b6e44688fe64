"""Programs fitted in closed form: exact at full rank, the nearest of their kind below it, equal each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chipfit.compress.edit import apply
from chipfit.compress.factors import closed_form
from chipfit.core.edits import Fitted, Same
from chipfit.core.graph import Graph, Network, op
from chipfit.nets.build import build
from chipfit.space.edits import Swap
from chipfit.space.program import alone, parse, place_of

SEPARABLE = "dwconv(x, KxK); pwconv(_, M)"
LOW_RANK = "conv(x, Kx1, M/2); conv(_, 1xK, M)"
TUCKER = "pwconv(x, C/2); conv(_, KxK, M/2); pwconv(_, M)"


def layer(c: int = 8, m: int = 12, k: tuple[int, int] = (3, 3), **attrs: object) -> Network:
    """One convolution with a bias."""
    given = {"kernel": k, "stride": (1, 1), "padding": (k[0] // 2, k[1] // 2), "dilation": (1, 1), "groups": 1}
    window = given | attrs
    rows, columns = (
        (9 + 2 * p - d * (n - 1) - 1) // s + 1
        for n, s, p, d in zip(k, window["stride"], window["padding"], window["dilation"], strict=True)  # type: ignore[call-overload]
    )
    ops = (op("x", "input", (), (c, 9, 9)), op("a", "conv", ("x",), (m, rows, columns), "a", bias=1, **window))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    weights = {"a.weight": rng.normal(size=(m, c, *k)).astype(np.float32), "a.bias": np.ones(m, np.float32)}
    return Network(Graph(ops, "a"), weights)


def outputs(network: Network) -> NDArray[np.float32]:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(4, *network.graph.input_shape)).astype(np.float32))
    with torch.inference_mode():
        return np.asarray(build(network)(x).numpy())


def off(network: Network, program: str) -> float:
    """How far the program's outputs are from the layer's, as a share of them."""
    wanted, found = outputs(network), outputs(apply(network, [Swap("a", program)]))
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    "program",
    [
        "conv(x, KxK, M)",
        "conv(x, Kx1, 3C); conv(_, 1xK, M)",
        "conv(x, 1xK, 3M); conv(_, Kx1, M)",
        "pwconv(x, C); conv(_, KxK, M); pwconv(_, M)",
        "conv(x, KxK, 2M); pwconv(_, M)",
        "pwconv(x, 2C); conv(_, KxK, M)",
    ],
)
@pytest.mark.parametrize(
    "attrs", [{}, {"stride": (2, 2)}, {"dilation": (2, 2), "padding": (2, 2)}, {"padding": (0, 0)}]
)
def test_at_full_rank_it_is_the_layer(program: str, attrs: dict) -> None:
    assert off(layer(**attrs), program) < 1e-5


def test_of_low_rank_it_is_the_layer_too() -> None:
    network = layer()
    rng = np.random.default_rng(2)
    depth, across = rng.normal(size=(1, 8, 3, 3)), rng.normal(size=(12, 8, 1, 1))
    separable = Network(network.graph, network.weights | {"a.weight": (depth * across).astype(np.float32)})
    assert off(separable, SEPARABLE) < 1e-5
    behind = Network(network.graph, network.weights | {
        "a.weight": (rng.normal(size=(12, 8, 1, 1)) * rng.normal(size=(12, 1, 3, 3))).astype(np.float32)
    })  # fmt: skip
    assert off(behind, "pwconv(x, M); dwconv(_, KxK)") < 1e-5
    assert off(behind, SEPARABLE) > 0.1


def test_it_is_the_nearest_of_its_rank() -> None:
    network = layer()
    weight = network.weights["a.weight"].astype(float)
    made = apply(network, [Swap("a", LOW_RANK)])
    column, row = made.weights["a#0.weight"][..., 0].astype(float), made.weights["a.weight"][:, :, 0].astype(float)
    product = np.einsum("mqj,qci->mcij", row, column)
    unfolded = weight.transpose(1, 2, 3, 0).reshape(24, 36)
    sizes = np.linalg.svd(unfolded, compute_uv=False)
    rank = column.shape[0]
    assert np.sum((product - weight) ** 2) == pytest.approx(np.sum(sizes[rank:] ** 2), rel=1e-4)


def test_the_bias_and_what_is_not_replaced_stay() -> None:
    network = layer()
    made = apply(network, [Swap("a", SEPARABLE)])
    assert made.weights["a.bias"] is network.weights["a.bias"]
    assert {n: w.shape for n, w in made.weights.items()} == {
        "a#0.weight": (8, 1, 3, 3), "a.weight": (12, 8, 1, 1), "a.bias": (12,)
    }  # fmt: skip
    assert apply(network, [Swap("a", TUCKER)]).digest() == apply(network, [Swap("a", TUCKER)]).digest()


def test_a_program_that_is_no_product_gets_the_same_kernels_each_time() -> None:
    network = layer()
    o = network.graph["a"]
    instead = alone(parse("pwconv(x, M/2); pwconv(_, M)"), place_of(network.graph, "a"))
    fitted = Fitted(Same("a.weight"), o, instead, "a.weight")
    one, other = (closed_form(fitted, network.weights["a.weight"]) for _ in range(2))
    assert one.keys() == {"a#0.weight", "a.weight", "a.bias"}
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
        assert np.isfinite(array).all()
    assert replace(fitted, array="a#0.weight") != fitted
