"""Arrays that are made in several steps, carried out as they are nested, and after compensation too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from chipfit.compress.edit import carried_out
from chipfit.compress.profile import profile, stitch
from chipfit.core.edits import Edited, Factor, Masked, Padded, Rounded, Same, Source, Take, innermost
from chipfit.core.fixed_point import on_grid
from chipfit.core.graph import Graph, Network, Weights, op
from chipfit.space.edits import Width, edited
from compress.networks import network_of, noise

CROSS, CORNER = (1, 3, 4, 5, 7), (0, 1, 3, 4)


def made_of(sources: Mapping[str, Source], weights: Weights) -> Weights:
    graph = Graph((op("x", "input", (), (1,)),), "x")
    return carried_out(Network(graph, weights), Edited(graph, sources, {}, {})).weights


def test_taken_then_padded_then_masked_then_rounded() -> None:
    weight = np.arange(12, dtype=np.float32).reshape(3, 2, 1, 2) / 8
    source = Take("a", {0: (0, 2)})
    nested = Rounded(Masked(Padded(source, {2: (1, 1), 3: (0, 1)}), ((3, 4), (4, 5))), 1, 1)
    assert innermost(nested) == source
    got = made_of({"a": nested}, {"a": weight})["a"]
    assert got.dtype == np.float32
    # kernels (0 1), (2 3), (8 9), (10 11) eighths in the middle row of three; 4 is the second of it
    rows = np.array([[0, 0.0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]])
    want = np.zeros((4, 3, 3))
    want[:, 1] = rows
    np.testing.assert_array_equal(got.reshape(4, 3, 3), want)


def test_a_factor_is_made_of_what_is_left_of_the_norm() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3)).astype(np.float32),
        "scale": rng.uniform(0.5, 2, 4).astype(np.float32),
        "var": rng.uniform(0.5, 2, 4).astype(np.float32),
    }
    rows = {0: (1, 3)}
    factor = Factor(Take("scale", rows), Take("var", rows), 1e-3)
    got = made_of({"w": Rounded(Take("w", rows), 2, 4, factor)}, weights)["w"]
    f = (weights["scale"] / np.sqrt(weights["var"] + 1e-3))[[1, 3], None]
    np.testing.assert_allclose(got * f, on_grid(weights["w"][[1, 3]] * f, 2, 4), rtol=1e-6)


def test_one_factor_for_all_rows() -> None:
    weights = {"w": np.array([[0.3], [0.6]], np.float32), "scale": np.array([2.0], np.float32)}
    got = made_of({"w": Rounded(Same("w"), 2, 1, Factor(Same("scale")))}, weights)["w"]
    np.testing.assert_array_equal(got, [[0.25], [0.5]])


def test_what_is_compensated_is_masked_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that lost inputs is solved for those that are left, and the patterns are chosen on the solution."""
    network = network_of("resnet8")
    found = profile(network, noise(network, 32), np.random.default_rng(0))
    edits = (Width("5.body.0", tuple(range(8))),)
    plain = stitch(network, found, edits)
    name = "5.body.3.weight"

    def masked(graph: Graph, edits: object) -> Edited:
        made = edited(graph, edits)  # type: ignore[arg-type]
        return replace(made, arrays={**made.arrays, name: Masked(made.arrays[name], (CROSS, CORNER))})

    monkeypatch.setattr("chipfit.compress.profile.edited", masked)
    cut = stitch(network, found, edits)
    solved, left = (torch.from_numpy(n.weights[name]) for n in (plain, cut))
    sums = torch.stack([solved.flatten(2)[:, :, list(p)].square().sum(2) for p in (CROSS, CORNER)])
    torch.testing.assert_close(left.square().sum((2, 3)), sums.amax(0))
    assert bool(((left == solved) | (left == 0)).all())
    assert all(np.array_equal(cut.weights[n], plain.weights[n]) for n in plain.weights if n != name)
