"""Programs fitted to second moments: never further off than the closed form, exact where they can be, repaired."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.compress import fitting
from chipfit.compress.edit import apply
from chipfit.compress.factors import closed_form
from chipfit.compress.fitting import fitted_to, is_patchwise
from chipfit.compress.profile import profile, stitch
from chipfit.compress.refit import refit
from chipfit.core.edits import Edit, Fitted, Same
from chipfit.core.graph import Network
from chipfit.space.edits import Swap, Width
from chipfit.space.program import alone, parse, place_of
from compress.networks import answers, network_of, noise
from compress.test_factors import LOW_RANK, SEPARABLE, TUCKER, layer, outputs

GROUPED = "gconv(x, KxK, M, 2); pwconv(_, M)"


def fitted(network: Network, program: str) -> Fitted:
    return Fitted(Same("a.weight"), network.graph["a"], alone(parse(program), place_of(network.graph, "a")), "a.weight")


def moments(d: int) -> np.ndarray:
    """Second moments of inputs that are alike."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(4 * d, d)) + 2 * rng.normal(size=(4 * d, 1)) + rng.normal(size=d)
    return np.asarray(inputs.T @ inputs / len(inputs))


def error(network: Network, made: dict, h: np.ndarray) -> float:
    """tr((W - W') H (W - W')') by what a built network makes of unit patches."""
    program = Network(made["graph"], {**made["arrays"], "a.bias": np.zeros(12, np.float32)})
    missing = matrix(network) - matrix(program)
    return float(np.sum((missing @ h) * missing))


def matrix(network: Network) -> np.ndarray:
    """(O, d) what a network on maps makes at its centre, d being the places of a 3x3 patch of 8 channels there."""
    units = np.zeros((72, 8, 9, 9), np.float32)
    for tap in range(9):
        for c in range(8):
            units[tap * 8 + c, c, 3 + tap // 3, 3 + tap % 3] = 1.0
    plain = Network(network.graph, network.weights | {"a.bias": np.zeros(12, np.float32)})
    return answers(plain, units)[:, :, 4, 4].T.astype(float)


@pytest.mark.parametrize(
    "program", [SEPARABLE, LOW_RANK, TUCKER, GROUPED, "pwconv(x, M); dwconv(_, KxK)", "pwconv(x, M)"]
)
def test_it_is_nearer_than_the_closed_form(program: str) -> None:
    network, h = layer(), moments(72)
    of, weight = fitted(network, program), layer().weights["a.weight"]
    graph = of.instead
    before = error(network, {"graph": graph, "arrays": closed_form(of, weight)}, h)
    after = error(network, {"graph": graph, "arrays": fitted_to(of, weight, h)}, h)
    assert after < 0.98 * before
    if program == "pwconv(x, M)":  # one solution of least squares
        centre = slice(4 * 8, 5 * 8)
        wanted = matrix(network) @ h[:, centre] @ np.linalg.inv(h[centre, centre])
        np.testing.assert_allclose(fitted_to(of, weight, h)["a.weight"][:, :, 0, 0], wanted, rtol=1e-3, atol=1e-4)


def test_the_identity_stays_exact() -> None:
    network = layer()
    for program in ("conv(x, KxK, M)", "conv(x, Kx1, 3C); conv(_, 1xK, M)"):
        made = fitted_to(fitted(network, program), network.weights["a.weight"], moments(72))
        same = Network(fitted(network, program).instead, network.weights | made | {"a.bias": network.weights["a.bias"]})
        np.testing.assert_allclose(outputs(same), outputs(network), rtol=1e-4, atol=1e-4)


def test_where_patches_do_not_tell_it_is_the_closed_form() -> None:
    network = layer()
    weight = network.weights["a.weight"]
    bent = fitted(network, SEPARABLE)
    for h in (None, np.ones(72)):
        for name, array in fitted_to(bent, weight, h).items():
            np.testing.assert_array_equal(array, closed_form(bent, weight)[name])
    strided = layer(stride=(2, 2))
    assert is_patchwise(fitted(strided, LOW_RANK))
    assert is_patchwise(fitted(strided, SEPARABLE))
    assert not is_patchwise(fitted(network, "conv(x, 5x5, M)"))
    assert not is_patchwise(fitted(layer(k=(2, 2), padding=(0, 0)), "conv(x, KxK, M)"))


def test_the_repair_solves_for_the_last_operator() -> None:
    network = network_of("resnet8")
    x = noise(network, 96)
    found = profile(network, x, np.random.default_rng(0))
    edits: tuple[Edit, ...] = (
        Swap("4.body.3", SEPARABLE), Swap("5.body.0", LOW_RANK),
        found.width("5.body.0", 24), found.width("4.body.0", 16),
    )  # fmt: skip
    stitched = stitch(network, found, edits)
    plain = apply(network, edits)
    repaired = refit(network, stitched, edits, x, np.random.default_rng(0))
    assert repaired.graph == stitched.graph == plain.graph
    truth = answers(network, x)
    off = {n: float(np.abs(answers(made, x) - truth).mean()) for n, made in
           (("plain", plain), ("stitched", stitched), ("repaired", repaired))}  # fmt: skip
    assert off["repaired"] < off["stitched"] < off["plain"]
    np.testing.assert_array_equal(repaired.weights["4.body.3#0.weight"], stitched.weights["4.body.3#0.weight"])
    assert not np.allclose(repaired.weights["4.body.3.weight"], stitched.weights["4.body.3.weight"])


def test_undoing_gives_the_weights_as_they_were() -> None:
    network = network_of("resnet8")
    apply(network, [Swap("4.body.3", SEPARABLE)])
    assert apply(network, []).weights["4.body.3.weight"] is network.weights["4.body.3.weight"]
    narrowed = apply(network, [Swap("4.body.3", SEPARABLE), Width("5.body.0", (0, 1, 2, 3))])
    assert narrowed.weights["0.weight"] is network.weights["0.weight"]


def test_a_fit_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, h = layer(), moments(72)
    weight = network.weights["a.weight"]
    once = fitted_to(fitted(network, SEPARABLE), weight, h)
    monkeypatch.setattr(fitting, "_descended", lambda *_: pytest.fail("it is known"))
    again = fitted_to(fitted(network, SEPARABLE), weight.copy(), h)
    assert all(again[name] is array for name, array in once.items())
    with pytest.raises(pytest.fail.Exception, match="it is known"):
        fitted_to(fitted(network, SEPARABLE), weight, 2 * h)
