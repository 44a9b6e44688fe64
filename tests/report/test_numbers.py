"""front.json and candidates.csv hold the store's numbers, unrounded."""

import csv
import json
import math
from pathlib import Path

import pytest

from chipfit.report.numbers import candidates_csv, embedded, front_json, strict
from chipfit.report.view import RunView, view
from chipfit.store.store import Store


@pytest.fixture(scope="module")
def run(whole_run: Path) -> RunView:
    with Store(whole_run, read_only=True) as store:
        return view(store)


def test_the_csv_has_a_line_per_trial_with_both_splits_and_both_latencies(run: RunView):
    lines = list(csv.DictReader(candidates_csv(run).splitlines()))
    assert len(lines) == len(run.rows) == 50
    for line, row in zip(lines, run.rows, strict=True):
        assert (line["key"], line["role"], line["name"], line["budget"]) == (row.key, row.role, row.name, row.budget)
        for column, m in (
            ("accuracy_validation", row.quality),
            ("accuracy_test", row.test),
            ("latency_ms", row.latency),
            ("latency_ms_predicted", row.predicted),
        ):
            assert line[column] == ("" if m is None else repr(m.value))
        assert line["latency_provenance"] == ("measured" if row.latency else "")
        assert json.loads(line["choices"] or "{}") == row.choices
    assert sum(line["error"] != "" for line in lines) == 1


def test_the_csv_of_an_empty_run_is_its_header():
    assert candidates_csv(RunView(Path("run"))).startswith("key,role,model,name,budget,accuracy_validation,")
    assert candidates_csv(RunView(Path("run"))).count("\n") == 1


def test_the_front_as_json(run: RunView):
    made = json.loads(front_json(run))
    assert [p["name"] for p in made["points"]] == ["lenet5", "ours", "resnet8", "ours", "all-int8", "resnet20", "wrn16"]
    assert made["knee"]["name"] == "ours"
    assert made["best_under"]["latency_ms<=0.25"]["name"] == "lenet5"
    measured = [m for m in made["points"][0]["measurements"] if m["metric"] == "latency_ms"]
    assert measured == [
        {"metric": "latency_ms", "value": 0.068, "provenance": "measured", "where": "epyc-7763-ort-1.31-1t",
         "protocol": "canary ratio v1, 1 thread", "spread": 0.006 * 0.068, "n": 40}
    ]  # fmt: skip


def test_what_json_does_not_know_becomes_null_and_markup_is_hidden():
    assert strict({"a": [math.nan, (math.inf, 1.5)], "b": "x"}) == {"a": [None, [None, 1.5]], "b": "x"}
    assert "<" not in embedded({"name": "</script>"})
    assert json.loads(embedded({"name": "</script>"})) == {"name": "</script>"}
