"""Pictures carry the run's numbers; axes and shades are what they say."""

from pathlib import Path

import pytest

from chipfit.core.types import Measurement
from chipfit.report.budget import parse_budget
from chipfit.report.figure import scale, span
from chipfit.report.figures import figures, operators, phases, strips
from chipfit.report.pareto import pareto
from chipfit.report.row import Row
from chipfit.report.view import DecisionFact, Parity, RunView, view
from chipfit.store.store import Store


def row(name: str, role: str, share: float, ms: float, **choices: str) -> Row:
    found = (Measurement("accuracy", share, "measured", "validation"), Measurement("latency_ms", ms, "measured"))
    return Row(name, role, "net", name, "", found, choices)


def run_of(*rows: Row, **facts: object) -> RunView:
    return RunView(Path("run"), rows, **facts)  # type: ignore[arg-type]


def test_axes_are_logarithmic_only_where_the_values_ask_for_it():
    assert span([1.0, 2.0])[0] == "linear"
    kind, low, high = span([0.1, 10.0])
    assert kind == "log"
    assert low < 0.1 < 10.0 < high
    assert scale("log", 0.09, 11.0)["tickvals"] == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert scale("log", 0.001, 11.0)["tickvals"] == [0.001, 0.01, 0.1, 1.0, 10.0]
    kind, low, high = span([0.0, 0.0])
    assert low < 0.0 < high


def test_the_region_of_a_budget_ends_at_its_limits():
    budget = parse_budget("latency_ms<=2, accuracy>=0.9", {})
    picture = pareto(run_of(row("a", "zoo", 0.95, 4.0), row("b", "final", 0.92, 1.0), budgets=(budget,)))
    assert picture is not None
    region = next(t for t in picture.traces if t.get("fill") == "toself")
    assert max(region["x"]) == 2.0  # type: ignore[arg-type,type-var]
    assert min(region["y"]) == 90.0  # type: ignore[arg-type,type-var]
    assert region["name"] == "within latency ≤ 2 ms, accuracy ≥ 90 %"
    floor = pareto(run_of(row("a", "zoo", 0.95, 4.0), budgets=(parse_budget("size_mb<=1", {}),)))
    assert floor is not None
    assert all(t.get("fill") != "toself" for t in floor.traces)


def test_dominated_marks_are_grey_and_the_untouched_are_stars():
    picture = pareto(run_of(row("a", "zoo", 0.95, 4.0), row("b", "zoo", 0.9, 5.0), row("c", "final", 0.94, 1.0)))
    assert picture is not None
    marks = [
        (t["name"], t["marker"]["symbol"], t["marker"]["color"], t["text"]) for t in picture.traces if "marker" in t
    ]  # type: ignore[index,call-overload]
    assert marks == [
        ("untouched", "star", "var:faint", ["b"]),
        ("untouched", "star", "var:zoo", ["a"]),
        ("final", "diamond", "var:accent", ["c"]),
    ]


def test_names_stand_towards_the_middle_of_the_picture():
    picture = pareto(
        run_of(row("slow", "zoo", 0.95, 4.0), row("low", "zoo", 0.80, 4.1), row("quick", "final", 0.9, 1.0))
    )
    assert picture is not None
    places = {t["text"][0]: t["textposition"][0] for t in picture.traces if "marker" in t}  # type: ignore[index,call-overload]
    assert places == {"slow": "bottom left", "low": "top left", "quick": "top right"}
    bars = operators(run_of(before=(("op", 1.0, "compute"),), after=()))
    assert bars is not None
    assert bars.layout["xaxis"]["range"][1] > 1.1, "room for the word at the longest bar"  # type: ignore[index,call-overload]


def test_strips_shade_by_the_share_given_up():
    decisions = {
        "net": (
            DecisionFact("w", "width", (("16", 16.0), ("4", 4.0), ("skip", 0.0))),
            DecisionFact("bits:w", "precision", (("fp32", 32.0), ("int8", 8.0))),
        )
    }
    finals = (
        row("x", "final", 0.9, 1.0, w="4", **{"bits:w": "int8"}),
        row("y", "final", 0.9, 1.0, w="skip", **{"bits:w": "fp32"}),
    )
    width, precision = strips(run_of(*finals, decisions=decisions))
    assert width.traces[0]["z"] == [[0.75, 1.0]]
    assert width.traces[0]["text"] == [["4", "skip"]]
    assert precision.traces[0]["z"] == [[0.75, 0.0]]
    assert width.traces[0]["x"] == ["x", "y"]
    (plain,) = strips(run_of(*finals))
    assert plain.traces[0]["z"] == [[0.0, 0.0], [0.0, 0.0]]
    assert "Paler" not in plain.caption


def test_decisions_of_whatever_kind_are_drawn_in_the_order_of_the_menu():
    decisions = {
        "net": (
            DecisionFact("m", "pattern<3>", (("dense", 9.0), ("four of nine", 4.0))),
            DecisionFact("b", "skip", (("keep", 1.0), ("skip", 0.0))),
            DecisionFact("n", "pattern<3>", (("dense", 9.0), ("four of nine", 4.0))),
        )
    }
    pattern, skip = strips(
        run_of(row("x", "final", 0.9, 1.0, m="four of nine", b="skip", n="dense"), decisions=decisions)
    )
    assert pattern.traces[0]["y"] == ["m", "n"]
    assert pattern.traces[0]["text"] == [["four of nine"], ["dense"]]
    assert pattern.caption.startswith("<b>net, pattern&lt;3&gt;.</b> The option that was chosen for each decision.")
    assert skip.caption.startswith("<b>net, skip.</b> Residual blocks: kept, or skipped.")


def test_finals_of_one_name_are_told_apart_by_budget_or_number():
    twins = (row("x", "final", 0.9, 1.0, w="4"), row("x", "final", 0.9, 2.0, w="8"))
    assert strips(run_of(*twins))[0].traces[0]["x"] == ["x<br>1", "x<br>2"]


def test_operators_beyond_the_slowest_are_summed_and_missing_ones_have_no_bar():
    before = tuple((f"op{n}", 1.0 + n, "compute") for n in range(20))
    after = (*((f"op{n}", 0.5, "memory") for n in range(10)), ("op0", 0.25, "memory"))
    picture = operators(run_of(before=before, after=after))
    assert picture is not None
    old, new = picture.traces
    assert len(old["x"]) == len(new["x"]) == 17  # type: ignore[arg-type]
    assert old["y"][0] == "op19"  # type: ignore[index,call-overload]
    assert new["x"][0] is None  # type: ignore[index,call-overload]
    assert old["x"][-1] == sum(1.0 + n for n in range(4))  # type: ignore[index,call-overload]
    assert new["x"][-1] == 0.5 * 4 + 0.25  # type: ignore[index,call-overload]
    assert "210 ms in all before, 5.25 ms after" in picture.caption


def test_phases_add_up():
    picture = phases(run_of(phases=(("a", 1.0), ("b", 3.0))))
    assert picture is not None
    assert picture.traces[0]["text"] == ["1.0 s, 25 %", "3.0 s, 75 %"]
    assert "4 seconds" in picture.caption


def test_parity_shows_each_pair_and_no_measured_final_where_there_is_no_prediction():
    parity = Parity((1.0, 2.0), (1.1, 1.9))
    latency, damage = figures(run_of(row("x", "final", 0.9, 1.0), latency=parity, damage=parity))[1:]
    assert [t["name"] for t in latency.traces] == ["exact", "check networks"]
    assert (latency.traces[1]["x"], latency.traces[1]["y"]) == ([1.0, 2.0], [1.1, 1.9])
    assert "Spearman" not in latency.caption
    assert damage.name == "parity-damage"


def test_every_picture_of_a_whole_run_has_a_caption(whole_run: Path):
    with Store(whole_run, read_only=True) as store:
        made = figures(view(store))
    assert len(made) == 7
    assert all(len(f.caption) > 30 and f.height >= 200 for f in made)


@pytest.mark.parametrize("picture", [pareto, operators, phases])
def test_no_data_no_picture(picture: object):
    assert picture(run_of()) is None  # type: ignore[operator]
