"""Compensation and repair: better than slicing, honest in train and in eval mode, damages add up."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from chipfit.compress import profile as profiling
from chipfit.compress.edit import apply
from chipfit.compress.profile import Profile
from chipfit.compress.quantise import fake_quantised, ranges
from chipfit.compress.refit import refit
from chipfit.core.data import Dataset
from chipfit.core.graph import Network
from chipfit.data.load import load_data
from chipfit.evaluate.damage import additivity, damage, divergence
from chipfit.nets.build import build
from chipfit.space import edits as on_graph
from chipfit.space.edits import Width, drops
from chipfit.space.offer import offer
from recipes import small


@cache
def digits() -> Dataset:
    return load_data("digits")


@cache
def network() -> Network:
    return small.entries(digits())[1].network


@cache
def inputs() -> np.ndarray:  # type: ignore[type-arg]
    return digits().normalise(digits().train.inputs)


@cache
def profile() -> Profile:
    return profiling.profile(network(), inputs()[:512], np.random.default_rng(0))


def logits(net: Network) -> np.ndarray:  # type: ignore[type-arg]
    with torch.inference_mode():
        answer: np.ndarray = build(net)(torch.from_numpy(inputs()[512:])).numpy()  # type: ignore[type-arg]
    return answer


def halved(best: bool) -> list[Width]:
    sizes = {name: len(order) for name, order in profile().order.items()}
    if best:
        return [profile().width(name, n // 2) for name, n in sizes.items()]
    return [Width(name, tuple(range(n // 2))) for name, n in sizes.items()]


def test_each_step_of_the_repair_brings_the_answers_closer() -> None:
    edits = halved(best=True)
    stitched = profiling.stitch(network(), profile(), edits)
    repaired = refit(network(), stitched, edits, inputs()[:512], np.random.default_rng(0))
    teacher = logits(network())
    sliced, first, second = (divergence(teacher, logits(n)) for n in (apply(network(), edits), stitched, repaired))
    assert second < first < sliced
    assert repaired.graph == on_graph.apply(network().graph, edits)


def test_repair_is_honest() -> None:
    """Batch norms hold true statistics: on the inputs of the repair, train and eval mode agree."""
    edits = halved(best=True)
    x = inputs()[:256]
    stitched = profiling.stitch(network(), profile(), edits)
    module = build(refit(network(), stitched, edits, x, np.random.default_rng(0)))
    with torch.no_grad():
        evaluated = module(torch.from_numpy(x))
        trained = module.train()(torch.from_numpy(x))
    assert float((evaluated - trained).abs().mean()) < 0.05 * float(evaluated.abs().mean())


def test_damage_grows_with_the_change_and_is_remembered() -> None:
    offered = offer(network().graph, {32: 8, 8: 8})
    menu, known = damage(network(), offered, profile(), inputs()[:96], inputs()[600:728])
    singles = {t.on[0]: t.table for t in menu.terms if t.metric == "damage" and len(t.on) == 1}
    for d, decision in enumerate(menu.decisions):
        assert singles[d][0] == 0
        if decision.kind == "width":
            widths = [i for i, o in enumerate(decision.options) if not drops(o.edits)]
            assert singles[d][widths[-1]] > singles[d][widths[0]]
    again = Profile.from_arrays(known.to_arrays())
    assert again.damage == known.damage
    second, _ = damage(network(), offered, again, inputs()[:1], inputs()[:1])  # inputs that could not measure anything
    assert [t.table.tolist() for t in second.terms] == [t.table.tolist() for t in menu.terms]
    predicted, true = additivity(menu, network(), known, inputs()[:96], inputs()[600:728], np.random.default_rng(0), 16)
    assert spearmanr(predicted, true).statistic > 0.8


def test_int8_answers_stay_close() -> None:
    low = on_graph.apply(network().graph, [o.options[1].edits[0] for o in offer(network().graph, {8: 8}).menu.decisions
                                           if o.kind == "precision"])  # fmt: skip
    net = Network(low, network().weights)
    known = ranges(net, inputs()[:128])
    assert known["input"][0] <= 0 <= known["input"][1]
    got = fake_quantised(net, known, inputs()[512:])
    agreement = float((got.argmax(1) == logits(network()).argmax(1)).mean())
    assert agreement > 0.97


@pytest.mark.long
@pytest.mark.slow
def test_resnet20_halved_without_labels_or_training(shared: object) -> None:
    """Every inner width of a published ResNet-20 halved: slicing by norm leaves 0.11 of 0.8135, repair 0.70."""
    from pathlib import Path

    from chipfit.nets.load import load_models

    folder = Path(str(shared)) / "data"
    jpegs = load_data(str(folder / "cifar10_jpeg.zip"), normalize=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    model = Path(__file__).parents[1] / "models" / "cifar_resnet.py"
    (entry,) = load_models(
        [f"{model}:resnet20"], weights=[folder / "cifar_resnet" / "resnet20.safetensors"], dataset=jpegs
    )
    x = jpegs.normalise(jpegs.calibration(1024).inputs)
    known = profiling.profile(entry.network, x, np.random.default_rng(0))
    inner = {n for names in offer(entry.network.graph, {8: 8}).inner.values() for n in names}
    edits = [known.width(name, len(order) // 2) for name, order in known.order.items() if name in inner]
    assert len(edits) == 9
    stitched = profiling.stitch(entry.network, known, edits)
    repaired = refit(entry.network, stitched, edits, x, np.random.default_rng(0))
    test = jpegs.open_test()
    with torch.inference_mode():
        right = build(repaired)(torch.from_numpy(jpegs.normalise(test.inputs))).argmax(1).numpy() == test.targets
    assert right.mean() >= 0.70
