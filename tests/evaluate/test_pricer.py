"""What prices menus says of itself what its numbers are worth, and several devices are asked as one is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.types import Artifact, Fidelity, Measurement
from chipfit.device.null import Null
from chipfit.evaluate.foretold import Foretold
from chipfit.evaluate.joint import JointTiming
from chipfit.evaluate.price import predicted, pricer
from chipfit.evaluate.price import tested as is_tested
from chipfit.evaluate.pricing import Pricing
from chipfit.evaluate.timed import Timed
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import bundle
from chipfit.space.menu import Decision, Menu, Option, Term
from made_up import Memory
from recipes import small


class Prophet(Null):
    """Its latencies are foretold."""

    def foretell(self, graphs: Sequence[Graph]) -> list[Measurement]:
        return self.measure([Artifact("onnx", b"", g) for g in graphs], "final")


class Tflite(Null):
    name, format = "other", "tflite"


def test_what_prices_a_device_is_chosen_by_what_the_device_can_do() -> None:
    timed, foretold = Timing(Null(), Memory()), Timing(Prophet(), Memory())
    assert isinstance(pricer(timed), Timed)
    assert isinstance(pricer(foretold), Foretold)
    assert (is_tested(timed), predicted(timed)) == (True, False)
    assert (is_tested(foretold), predicted(foretold)) == (False, True)
    both = JointTiming([Null(), Tflite()], Memory())
    assert (is_tested(both), predicted(both)) == (True, False)
    assert not isinstance(both, Timing)


def test_exact_tables_have_no_error_and_nothing_corrects_them() -> None:
    """A device that computes latencies in closed form: its tables say what it says of whole networks."""
    decision = Decision("w", "width", (Option("8"), Option("4")))
    exact = Pricing(Menu("g", (decision,), (Term("latency_ms", (0,), np.array([2.0, 1.0])),)), (), (), ())
    assert (exact.error, exact.predicted) == (0.0, ())
    assert exact.refined(small.plain_graph(), [(1,)], Timing(Null(), Memory()), Deadline.never()) is exact


def test_a_file_is_compared_where_its_ratio_is_greatest() -> None:
    class Judge(Null):
        def __init__(self, name: str, format: str, ratio: float) -> None:
            super().__init__()
            self.name, self.format, self.said = name, format, ratio

        def compare(self, a: Artifact, b: Artifact) -> Measurement:
            return Measurement("latency_ratio", self.said, "measured", self.name)

        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            return super().measure(artifacts, fidelity)

    graph = small.plain_graph()
    one, other = (
        bundle([Artifact(f, bytes([n]), graph) for f in ("onnx", "tflite")]) for n in (0, 1)
    )  # fmt: skip
    both = JointTiming([Judge("a", "onnx", 0.8), Judge("b", "tflite", 0.9)], Memory())
    found = both.ratio(one, [part for _, part in both.parts(other)])
    assert found is not None
    assert (found.value, found.where) == (0.9, "b")
    assert both.ratio(one, [part for _, part in both.parts(one)]) is None, "the same files"
