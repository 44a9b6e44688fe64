"""Two candidates or two runs side by side: differences where they mean something, and a word where they do not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.types import Measurement
from chipfit.report.compare import as_html, as_json, as_text, compare, compare_runs
from chipfit.report.row import Row
from chipfit.report.view import RunView, view
from chipfit.store.store import Store

A = Row(
    "aaaa",
    "baseline",
    "resnet20",
    "uniform",
    "",
    (
        Measurement("accuracy", 0.91, "measured", "test", spread=0.003),
        Measurement("latency_ms", 0.40, "measured", "cpu", "v1", 0.003),
        Measurement("size_mb", 0.5, "measured"),
    ),
    {"layer1": "8", "layer2": "16", "layer3": "32"},
)
B = replace(
    A,
    key="bbbb",
    role="final",
    name="ours",
    measurements=(
        Measurement("accuracy", 0.93, "measured", "test", spread=0.004),
        Measurement("latency_ms", 0.30, "measured", "cpu", "v1", 0.004),
        Measurement("macs", 2e6, "counted"),
    ),
    choices={"layer1": "8", "layer2": "skip", "layer4": "64"},
)


def test_two_candidates_as_text():
    assert as_text(compare(A, B)).splitlines() == [
        "                  uniform (resnet20)  ours (resnet20)  difference",
        "test accuracy, %  91.00 ±0.30         93.00 ±0.40      +2.00 ±0.50",
        "latency, ms       0.4000 ±0.0030      0.3000 ±0.0040   −0.1000 ±0.0050 (−25.0 %)",
        "file, MB          0.5                 –",
        "MACs, millions    –                   2 (counted)",
        "",
        "decision  uniform (resnet20)  ours (resnet20)",
        "layer2    16                  skip",
        "layer3    32                  –",
        "layer4    –                   64",
        "",
        "1 other decisions are the same.",
    ]


def test_the_same_as_json_unrounded():
    made = json.loads(as_json(compare(A, B)))
    assert made["numbers"][0]["difference"] == 0.93 - 0.91
    assert made["numbers"][0]["standard_error"] == pytest.approx(0.005)
    assert [n["what"] for n in made["numbers"]] == ["accuracy", "latency_ms", "size_mb", "macs"]
    assert made["numbers"][2]["b"] is made["numbers"][2]["difference"] is None
    assert made["layers"][0] == {"decision": "layer2", "a": "16", "b": "skip"}
    assert made["same"] == 1


@pytest.mark.parametrize("change", [{"provenance": "simulated"}, {"where": "gpu"}, {"protocol": "v2"}])
def test_numbers_taken_differently_are_not_subtracted(change: dict[str, str]):
    other = replace(A.measurements[1], **change)  # type: ignore[arg-type]
    made = compare(A, replace(A, name="other", measurements=(other,)))
    latency = next(n for n in made.numbers if n.what == "latency, ms")
    assert latency.difference is None
    assert latency.words == "not comparable: taken differently"


def test_html_is_escaped():
    text = as_html(compare(replace(A, name="<b>"), replace(B, model="other")))
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "come from different models (resnet20, other)" in text


def test_equal_designs_and_untouched_ones():
    assert as_text(compare(A, replace(A, key="cccc"))).splitlines()[0].split() == (
        ["uniform", "(resnet20)", "aaaa", "uniform", "(resnet20)", "cccc", "difference"]
    )
    assert "All 3 decisions are the same." in as_text(compare(A, replace(A, key="cccc")))
    zoo = replace(A, role="zoo", choices={})
    assert compare(zoo, B).layers[0] == ("layer1", "as it is", "8")
    assert "Every decision differs." in as_text(compare(zoo, B))
    assert "Neither side records its decisions." in as_text(compare(zoo, zoo))


def test_two_runs_by_their_finals_with_what_differs_between_them(whole_run: Path, a_store: Callable[..., Store]):
    with Store(whole_run, read_only=True) as store:
        first = view(store)
    with a_store(("final", "ours", 0.9, 0.2), config={"models": ["zoo:fashion-mnist"], "time": "1m"}) as store:
        second = view(store)
    made = compare_runs(first, second)
    assert (made.a, made.b) == ("first: ours (resnet20)", "run0: ours (m)")
    assert made.notes == (
        "The two come from different models (resnet20, m); layers share names only.",
        "The runs are of different devices: epyc-7763-ort-1.31-1t, unknown.",
        "The runs are of different data: fashion-mnist (9f86d081884c7d65), unknown (no digest).",
        'configuration limits: ["latency_ms<=0.42"] and absent',
        'configuration time: "10m" and "1m"',
    )
    with pytest.raises(BadInput, match="run none has no final model yet"):
        compare_runs(first, RunView(Path("none")))
