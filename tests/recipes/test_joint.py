"""One model for two devices that disagree: each holds its own budget, and each gets its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Limit, Measurement
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.evaluate.joint import ON, JointTiming
from chipfit.evaluate.screen import all_int8
from chipfit.export.dummy import random_weights
from chipfit.export.formats import files
from chipfit.recipes.fit import fit
from chipfit.store.store import Store
from recipes import small

SETTINGS = replace(small.SETTINGS, budgets=small.SETTINGS.budgets[:1], epochs=1, baselines=False)


class Other(Null):
    """Counts twice as much as `Null`, and three times as much again for what is int8."""

    name = "other"

    def facts(self) -> DeviceFacts:
        return replace(super().facts(), name=self.name, fingerprint="other v1")

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        found = super().measure(artifacts, fidelity)
        return [replace(m, value=ms(a.graph), where="other v1") for a, m in zip(artifacts, found, strict=True)]


def ms(graph: Graph) -> float:
    """What `Other` counts."""
    work = sum(graph.macs(o) * (0.01 if o.bits == 32 else 0.03) / 1e6 for o in graph)
    return 2 * (work + 0.002 * sum(o.kind not in ("input", "batch_norm", "flatten", "reshape") for o in graph))


def test_each_device_holds_its_own_share(tmp_path: Path) -> None:
    dataset = load_data("digits")
    models = small.entries(dataset)
    with Store(tmp_path / "run") as store:
        (final,) = fit(
            models, dataset, [Null(), Other()], SETTINGS, store, store.memory, Deadline.never(), lambda *_: None
        )
        latency = next(m for m in final.measurements if m.metric == "latency_ms" and m.provenance != "predicted")
        on = {name: latency.details[ON + name] for name in ("null", "other")}
        zoo = {t.labels["model"]: t for t in store.trials(role="zoo")}
        best = max(zoo.values(), key=lambda t: t.get("accuracy"))
        own = next(e.network for e in models if e.name == best.labels["model"])
        graphs = (own.graph, all_int8(own).graph)
        references = {
            "null": min(Null().measure([Artifact("graph", b"", g)], "final")[0].value for g in graphs),
            "other": min(ms(g) for g in graphs),
        }
        assert references["other"] == ms(own.graph), "int8 is no gain on the second device"
        for name, reference in references.items():
            assert on[name] <= 0.6 * reference * 1.001, name
        share = max(on[n] / r for n, r in references.items())
        assert latency.value == pytest.approx(share * references["null"]), "in milliseconds of the first"
        assert final.labels["format"] == "onnx", "both take the same file"
        assert Limit("latency_ms", 0.6 * references["null"]).met(latency.value, 1e-3)


def test_devices_without_a_common_precision_are_refused(tmp_path: Path) -> None:
    class Low(Other):
        def facts(self) -> DeviceFacts:
            return replace(super().facts(), bits=(8,))

    class Float(Null):
        def facts(self) -> DeviceFacts:
            return replace(super().facts(), bits=(32,))

    with Store(tmp_path / "run") as store, pytest.raises(BadInput, match="no precision in common"):
        JointTiming([Low(), Float()], store.memory)


def test_a_size_is_that_of_the_largest_file(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")

    class Tflite(Other):
        format = "tflite"

    graph = small.plain_graph()
    with Store(tmp_path / "run") as store:
        timing = JointTiming([Null(), Tflite()], store.memory)
        network = Network(graph, random_weights(graph, np.random.default_rng(0)))
        made = timing.write(network, None, {})
        assert made.format == "onnx+tflite"
        parts = [part for _, part in timing.parts(made)]
        assert [p.format for p in parts] == ["onnx", "tflite"]
        assert timing.size_mb(graph) == max(p.size_mb for p in parts)
        assert set(files(made)) == {".onnx", ".tflite"}


def test_a_latency_is_worth_what_its_least_part_is(tmp_path: Path) -> None:
    class Simulated(Other):
        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            found = super().measure(artifacts, fidelity)
            return [
                replace(m, value=m.value / 100, provenance="simulated", details={"peak_memory_mb": 0.5}) for m in found
            ]

    with Store(tmp_path / "run") as store:
        (m,) = JointTiming([Null(), Simulated()], store.memory).graphs([small.plain_graph()], "quick")
    assert m.value == m.details[ON + "null"], "the counted device is the slower one"
    assert m.provenance == "counted"
    assert m.details["peak_memory_mb"] == 0.5


def test_one_device_under_two_names_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "run") as store, pytest.raises(BadInput, match="are not different ones"):
        JointTiming([Null(), Null()], store.memory)


def test_shares_and_milliseconds_do_not_mix(tmp_path: Path) -> None:
    dataset = load_data("digits")
    budgets = ((Limit("latency_ms", 0.6, relative=True),), (Limit("latency_ms", 5.0),))
    with Store(tmp_path / "run") as store, pytest.raises(BadInput, match="all shares"):
        fit(
            small.entries(dataset, 5), dataset, [Null(), Other()], replace(SETTINGS, budgets=budgets), store,
            store.memory, Deadline.never(), lambda *_: None,
        )  # fmt: skip
