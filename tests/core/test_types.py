"""The words: parsing, keys, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline, parse_duration
from chipfit.core.errors import BadInput, Infeasible, did_you_mean
from chipfit.core.graph import Graph, Network, live, op
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial, metric


def test_limits_parse_and_compare() -> None:
    limit = Limit.parse("latency_ms=60%")
    assert limit == Limit("latency_ms", 0.6, relative=True)
    assert str(limit) == "latency_ms <= 60%"
    assert limit.against(5.0) == Limit("latency_ms", 3.0)
    at_least = Limit.parse("accuracy=0.9", at_least=True)
    assert at_least.met(0.91)
    assert not at_least.met(0.89)
    assert at_least.met(0.89, tolerance=0.02)
    assert Limit("latency_ms", 3.0).met(3.05, tolerance=0.02)
    assert at_least.against(7.0) is at_least


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency=5", "did you mean 'latency_ms'"),
        ("latency_ms", "has no value"),
        ("latency_ms=-5", "not above zero"),
        ("latency_ms=fast", "not a number"),
        ("latency_ms=1.2.3", "not a number"),
    ],
)
def test_bad_limits_say_what_to_do(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as e:
        Limit.parse(text)
    assert "\n" not in str(e.value)


def test_metric_names() -> None:
    assert metric("accuracy") == "accuracy"
    with pytest.raises(BadInput, match="known: accuracy"):
        metric("speed")
    assert did_you_mean("zzz", ["accuracy"]) == ""


def test_equal_candidates_have_equal_keys() -> None:
    assert Candidate({"a": 1, "b": [1, 2]}).key == Candidate({"b": (1, 2), "a": 1}).key
    assert Candidate({"a": 1}).key != Candidate({"a": 2}).key


def test_a_missing_metric_is_named() -> None:
    trial = Trial(Candidate({}), (Measurement("accuracy", 0.9, "measured"),))
    assert trial.get("accuracy") == 0.9
    assert trial.has("accuracy")
    with pytest.raises(KeyError, match="no 'latency_ms'; it has accuracy"):
        trial.get("latency_ms")


def test_durations_and_deadlines() -> None:
    assert [parse_duration(t) for t in ("90s", "10m", "1h30m")] == [90.0, 600.0, 5400.0]
    for text in ("ten", "10", "0s", "5 m"):
        with pytest.raises(BadInput, match="write it like"):
            parse_duration(text)
    now = [0.0]
    d = Deadline.after(10, clock=lambda: now[0])
    assert d.sooner(3).left() == 3
    assert d.sooner(30).left() == 10
    now[0] = 11
    assert d.passed()
    assert d.left() == 0
    assert Deadline.never().share(0.5).left() == math.inf


def tiny() -> Graph:
    conv = op(
        "c",
        "conv",
        ("in",),
        (4, 8, 8),
        "c",
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        groups=1,
        bias=1,
    )
    norm = op("n", "batch_norm", ("c",), (4, 8, 8), "n", eps=1e-5)
    return Graph((op("in", "input", (), (3, 8, 8)), conv, norm, op("dead", "relu", ("c",), (4, 8, 8))), "n")


def test_a_graph_counts_itself() -> None:
    g = tiny()
    assert g.total_macs == 3 * 4 * 9 * 64
    assert g.total_params == 4 * 27 + 4 + 8
    assert g.users["c"] == ("n", "dead")
    assert g.input_shape == (3, 8, 8)
    assert [o.name for o in live(g.ops, "n")] == ["in", "c", "n"]
    with pytest.raises(KeyError, match="conv 'c' has no attribute 'eps'"):
        g["c"]["eps"]
    with pytest.raises(ValueError, match="unknown kind 'magic'"):
        op("x", "magic", (), ())


def test_a_key_is_about_structure_not_names() -> None:
    g = tiny()
    text = g.to_json().replace('"c"', '"other"')
    assert Graph.from_json(text).key == g.key
    assert Graph.from_json(g.to_json()) == g
    wider = Graph((*g.ops[:1], g["c"].having(bias=0), *g.ops[2:]), "n")
    assert wider.key != g.key


def test_a_network_digest_sees_every_weight() -> None:
    g = tiny()
    weights = {n: np.zeros(s, np.float32) for o in g for n, s in g.weight_shapes(o).items()}
    before = Network(g, weights).digest()
    weights["c.bias"][0] = 1e-6
    assert Network(g, weights).digest() != before


def test_artifact_and_infeasible() -> None:
    a = Artifact("onnx", b"12345", tiny())
    assert a.size_mb == 5e-6
    assert len(a.digest) == 16
    assert str(Infeasible("too small", {"latency_ms": 1.0})) == "too small"


def dataset(**more: object) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 1, 4, 4)).astype(np.uint8)
    part = Split(images, rng.integers(0, 3, 40))
    base = {"name": "d", "classes": ("a", "b", "c"), "mean": (0.5,), "std": (0.25,), "train": part, "validation": part}
    return Dataset(**{**base, "open_test": lambda: part, **more})  # type: ignore[arg-type]


def test_dataset_normalises_and_is_identified() -> None:
    d = dataset()
    x = d.normalise(d.train.inputs)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0, 0, 0, 0], (d.train.inputs[0, 0, 0, 0] / 255 - 0.5) / 0.25, rtol=1e-5)
    floats = d.train.inputs.astype(np.float32)
    np.testing.assert_allclose(d.normalise(floats)[0, 0, 0, 0], (floats[0, 0, 0, 0] - 0.5) / 0.25, rtol=1e-5)
    assert d.digest() == dataset().digest()
    assert d.digest() != dataset(name="e").digest()
    assert len(d.calibration(8)) == 8
    assert d.input_shape == (1, 4, 4)
    assert d.labelled
    assert not dataset(train=Split(d.train.inputs)).labelled
    assert dataset(train=Split(d.train.inputs)).calibration(4).targets is None
