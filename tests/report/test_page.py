"""The page as a browser shows it: every picture drawn, every number the store's, nothing from outside."""

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from chipfit.api.result import read_result
from chipfit.cli import show
from chipfit.core.reference import Reference, Version
from chipfit.core.types import Candidate, Measurement, Trial
from chipfit.report.page import html, page
from chipfit.report.row import find
from chipfit.report.view import view
from chipfit.store.store import Store

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--dump-dom",
)


class Dom(HTMLParser):
    """What stands in a page: figures with the classes inside, cells with numbers by table and row, scripts by id."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.plots: dict[str, list[str]] = {}
        self.numbers: dict[str, list[tuple[str, str, float]]] = {}
        self.scripts: dict[str, str] = {}
        self.root: dict[str, str | None] = {}
        self.tags: list[str] = []
        self._stack: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def _inside(self, attribute: str, tag: str) -> str | None:
        return next((a[attribute] for t, a in reversed(self._stack) if t == tag and attribute in a), None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append(tag)
        if tag == "html":
            self.root = own
        plot = next((a["id"] for _, a in self._stack if "plot" in (a.get("class") or "").split()), None)
        if plot:
            self.plots.setdefault(plot, []).extend(f"{tag}.{c}" for c in (own.get("class") or "").split())
        elif "plot" in (own.get("class") or "").split():
            self.plots.setdefault(str(own["id"]), [])
        if tag == "td" and own.get("data-value"):
            row = str(self._inside("data-row", "tr"))
            cell = (row, str(own["data-metric"]), float(str(own["data-value"])))
            self.numbers.setdefault(str(self._inside("id", "table")), []).append(cell)
        if tag not in self.VOID:
            self._stack.append((tag, own))

    def handle_endtag(self, tag: str) -> None:
        while self._stack and self._stack.pop()[0] != tag:
            pass

    def handle_data(self, text: str) -> None:
        if self._stack and self._stack[-1][0] == "script" and "id" in self._stack[-1][1]:
            name = str(self._stack[-1][1]["id"])
            self.scripts[name] = self.scripts.get(name, "") + text


def in_chromium(file: Path, profile: Path) -> str:
    """The page's DOM after its scripts ran."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        if os.environ.get("CHIPFIT_REQUIRE_CHROMIUM") == "1":
            pytest.fail("CHIPFIT_REQUIRE_CHROMIUM=1, but there is no chromium on the PATH")
        pytest.skip("no chromium on the PATH: the report was not opened in a browser")
    command = [browser, *FLAGS, f"--user-data-dir={profile}", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def written(whole_run: Path) -> Path:
    with Store(whole_run) as store:
        return page(store)


def test_a_browser_draws_every_picture_with_all_its_points(written: Path, tmp_path: Path):
    dom = Dom(in_chromium(written, tmp_path))
    assert dom.root["data-drawn"] == "yes"
    figures = json.loads(dom.scripts["figures"])
    assert list(figures) == [
        "pareto",
        "choices-0",
        "choices-1",
        "operators",
        "parity-latency",
        "parity-damage",
        "phases",
    ]
    assert dom.plots.keys() == figures.keys()
    for name, figure in figures.items():
        inside = dom.plots[name]
        assert "svg.main-svg" in inside, name
        shown = [t for t in figure["data"] if "markers" in t.get("mode", "")]
        assert inside.count("path.point") == sum(len(t["x"]) for t in shown), name
        bars = [t for t in figure["data"] if t["type"] == "bar"]
        assert inside.count("g.point") == sum(len(t["x"]) for t in bars), name
        cells = [t for t in figure["data"] if t["type"] == "heatmap"]
        assert inside.count("g.heatmap-label") == sum(len(row) for t in cells for row in t["text"]), name
        assert inside.count("g.scatter") == sum(t["type"] == "scatter" for t in figure["data"]), name


def test_the_numbers_of_the_tables_are_those_of_the_store(written: Path):
    dom = Dom(written.read_text())
    with Store(written.parent, read_only=True) as store:
        rows = [r for role in ("zoo", "baseline", "final") for r in view(store).of_role(role)]
    expected = []
    base = next(r for r in rows if r.name == "resnet20")
    for r in rows:
        assert r.latency is not None
        assert base.latency is not None
        found = [r.test, r.quality, r.latency, r.predicted]
        expected += [(r.name, m.metric, m.value) for m in found if m is not None]
        if r.predicted is not None:
            expected.append((r.name, "error", r.predicted.value / r.latency.value - 1))
        expected.append((r.name, "speed_up", base.latency.value / r.latency.value))
        for metric in ("size_mb", "macs"):
            m = find(r.measurements, metric)
            assert m is not None
            expected.append((r.name, metric, m.value))
    assert dom.numbers["before-after"] == expected


def test_the_embedded_numbers_are_those_of_the_store(written: Path):
    data = json.loads(Dom(written.read_text()).scripts["data"])
    with Store(written.parent, read_only=True) as store:
        trials, facts = store.trials(), store.facts()
    assert [r["key"] for r in data["rows"]] == [t.candidate.key for t in trials]
    for shown, trial in zip(data["rows"], trials, strict=True):
        got = [(m["metric"], m["value"], m["provenance"], m.get("where", "")) for m in shown["measurements"]]
        assert got == [(m.metric, m.value, m.provenance, m.where) for m in trial.measurements]
    for name in ("phases", "untouched", "kept_fp32", "profile"):
        assert data[name] == facts[name]
    assert data["table"]["predicted"] == facts["table"]["predicted"]  # type: ignore[index,call-overload]
    names = [data["rows"][n]["name"] for n in data["front"]]
    assert names == ["lenet5", "ours", "resnet8", "ours", "all-int8", "resnet20", "wrn16"]
    assert data["best_under"] == {"latency_ms<=0.42": data["headline"], "latency_ms<=0.25": 0}


def test_the_page_says_what_happened_in_words(written: Path):
    text = re.sub(r"<script>.*?</script>", "", written.read_text(), flags=re.DOTALL)
    assert "<b>ours (resnet20)</b> runs <b>2.35× as fast</b> as resnet20 and is <b>0.60 points</b> (±0.36) less" in text
    for words in (
        "✗ latency ≤ 0.25 ms: 2.4 % over",
        "✓ latency ≤ 0.42 ms",
        "its outputs are the classes",
        "int8 was slower: 0.031 ms against 0.024 ms",
        "operator &#x27;resize&#x27; has no rule in int8",
        "rank correlation (Spearman) of 0.990 and a mean absolute error of 1.7 %",
        "Timing noise between sittings was 1.4 %",
        "1×: the report&#x27;s before/after table",
        "canary ratio v1, 1 thread",
        "49 measured",
        "1 of 50 trials is not drawn",
    ):
        assert words in text, words


def test_the_page_needs_nothing_from_outside(written: Path):
    text = written.read_text()
    assert "default-src 'none'" in text
    around = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?:", around)
    assert text.count("</script>") == text.count("<script") - text.count('"<script') == 4


def test_all_files_are_written_and_none_is_left_half(written: Path):
    names = {p.name for p in written.parent.iterdir()}
    assert names >= {"report.html", "front.json", "candidates.csv", "model_card.md"}
    assert not [n for n in names if n.endswith(".part")]


def test_an_empty_and_an_unfinished_run_have_a_page_too(a_store: Callable[..., Store]):
    with a_store() as store:
        text = page(store).read_text()
    assert "This run has no final model yet." in text
    assert "This run is not finished" in text
    assert Dom(text).plots == {}
    with a_store(("zoo", "net", 0.9, 1.0)) as store:
        assert list(Dom(page(store).read_text()).plots) == ["pareto"]
        store.finish()
        assert "This run ended without a final model." in html(view(store))


def test_a_final_that_is_slower_or_stands_alone_is_said_to_be(a_store: Callable[..., Store]):
    with a_store(("zoo", "net", 0.9, 1.0), ("final", "ours", 0.9, 2.0)) as store:
        assert "<b>ours (m)</b> runs <b>2.00× as long</b> as net and is as accurate" in page(store).read_text()
    with a_store(("final", "ours", 0.9, 2.0)) as store:
        assert "there is no untouched model to compare it with" in page(store).read_text()


def a_pair(store: Store) -> None:
    """A model as it came and in int8, a rival over the budget, and an answer that came of another budget."""
    rows: tuple[tuple[str, str, float, dict[str, str]], ...] = (
        ("zoo", "net", 0.5, {}),
        ("baseline", "net int8", 0.2, {}),
        ("baseline", "uniform width int8", 0.143, {"budget": "latency_ms <= 0.1", "steps": "770 of 770"}),
        (
            "final",
            "ours",
            0.09,
            {"budget": "latency_ms <= 0.1", "steps": "769 of 1460", "origin": "all int8 of net"},
        ),
    )
    for n, (role, name, ms, more) in enumerate(rows):
        found = (
            Measurement("accuracy", 0.9 - 0.01 * n, "measured", "validation"),
            Measurement("latency_ms", ms, "measured", "cpu"),
        )
        store.append(Trial(Candidate({"n": n}), found, labels={"role": role, "model": "net", "name": name, **more}))
    pair = Reference.of((Version("net", 32, {"latency_ms": 0.5}), Version("net", 8, {"latency_ms": 0.2})))
    store.set_fact("reference", asdict(pair))  # type: ignore[arg-type]
    store.set_fact("budgets", ["latency_ms <= 0.1"])


def test_shares_are_told_with_what_they_are_of_and_rivals_over_the_budget_too(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        a_pair(store)
        store.set_fact("config", {"models": ["my_net.py:build"]})
        text = page(store).read_text()
        words = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
        store.set_fact("config", {"models": ["zoo:fashion-mnist/net"]})
        assert "As they came from the zoo" in page(store).read_text()
    assert "As they came<" in words
    assert "from the zoo" not in words, "a model of the user's own is of no zoo"
    for said in (
        "<b>ours (all int8 of net)</b> runs <b>2.22× as fast</b> as net int8 and <b>5.56× as fast</b> as net and is",
        "less accurate than net on the validation split",
        "50 % of net int8, 0.2 ms (fp32 0.5 ms)",
        "Shares and speed-ups are of net int8, 0.2 ms (fp32 0.5 ms)",
        "Speed-up over net int8",
        "✗ latency ≤ 0.1 ms: 43.0 % over",
        "770 of 770 steps of training",
        '<span class="bad">769 of 1,460 steps of training</span>',
        "The same in int8 throughout",
    ):
        assert said in words, said


def test_the_console_agrees_with_the_page(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        a_pair(store)
        store.finish()
        shown = show.summary(read_result(store))
    out = io.StringIO()
    console = Console(file=out, width=160)
    for part in shown:
        console.print(part)
    said = out.getvalue()
    for words in (
        "uniform width int8, 43 % over",
        "50 % of net int8, 0.2 ms (fp32 0.5 ms)",
        "all int8 of net",
        "training  latency_ms <= 0.1: 769 of 1460 steps",
        "int8: valid. %",
    ):
        assert words in said, words


def test_of_steps_towards_the_least_cost_the_console_has_the_one_that_answers(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        a_pair(store)
        store.set_fact("budgets", ["latency_ms <= 0.1", "latency_ms <= 0.3"])
        store.set_fact("config", {"minimize": "latency_ms"})
        store.set_fact("floor", {"metric": "accuracy", "value": 0.5, "at_least": True})
        store.finish()
        shown = show.summary(read_result(store))
    out = io.StringIO()
    for part in shown:
        Console(file=out, width=160).print(part)
    said = out.getvalue()
    assert "Under latency_ms <= 0.1" in said
    assert "Under latency_ms <= 0.3" not in said
    assert "1 other step towards the least latency_ms in the report" in said
    assert re.search(r"quality +accuracy ≥ 50 %: held", said)


def test_a_budget_held_within_the_error_of_its_measurement_is_held_and_says_so(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        found = (
            Measurement("accuracy", 0.9, "measured", "validation"),
            Measurement("latency_ms", 0.1003, "measured", "cpu", "", 0.0004),
        )
        labels = {"role": "final", "model": "net", "name": "ours", "budget": "latency_ms <= 0.1"}
        store.append(Trial(Candidate({}), found, labels=labels))
        store.set_fact("budgets", ["latency_ms <= 0.1"])
        text = page(store).read_text()
    assert "✓ latency ≤ 0.1 ms, 0.3 % over, within its error" in text
    assert "0.3 % over, within the error of its measurement" in text


def test_a_test_split_that_was_opened_twice_is_told(a_store: Callable[..., Store]):
    with a_store() as store:
        store.record_test_read("report")
        store.record_test_read("a second thought")
        assert "The test split was opened 2 times" in page(store).read_text()


def test_a_budget_that_nothing_meets_names_the_nearest(a_store: Callable[..., Store]):
    with a_store(("zoo", "net", 0.9, 1.0), budgets=["latency_ms<=0.8", "size_mb<=1"]) as store:
        text = page(store).read_text()
    assert "none; the nearest is net (m), 25.0 % over" in text
    assert "none: nothing has been measured against it" in text


def test_names_from_a_run_are_text_and_never_markup(a_store: Callable[..., Store]):
    evil = "</script><img src=x onerror=alert(1)>"
    facts = {"warnings": [evil], "untouched": [[evil] * 3], "phases": [[evil, 1.0]], "versions": {evil: evil}}
    with a_store(("zoo", evil, 0.9, 1.0), ("final", evil, 0.9, 0.5), **facts) as store:
        dom = Dom(page(store).read_text())
    assert "img" not in dom.tags
    assert json.loads(dom.scripts["data"])["rows"][0]["name"] == evil
    assert "<img" not in json.loads(dom.scripts["figures"])["phases"]["data"][0]["y"][0]


def test_numbers_of_unlike_provenance_are_marked_and_not_divided(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        for role, name, ms, kind, where in (
            ("zoo", "net", 2.0, "measured", "cpu-a"),
            ("final", "counted", 1.0, "counted", "cpu-a"),
            ("final", "elsewhere", 1.0, "measured", "cpu-b"),
        ):
            found = (
                Measurement("accuracy", 0.9, "measured", "validation"),
                Measurement("latency_ms", ms, kind, where),  # type: ignore[arg-type]
            )
            labels = {"role": role, "model": "net", "name": name}
            store.append(Trial(Candidate({"name": name}), found, labels=labels))
        text = page(store).read_text()
    speed_ups = [(name, v) for name, metric, v in Dom(text).numbers["before-after"] if metric == "speed_up"]
    assert speed_ups == [("net", 1.0)]
    assert '1 <span class="tag">counted</span>' in text
    assert "Latencies of different provenance stand in this run (measured, counted)" in text
    assert "Latencies were measured on different devices (cpu-a, cpu-b)" in text


def test_not_a_number_is_null_and_not_drawn_as_zero(tmp_path: Path):
    with Store(tmp_path / "run") as store:
        failed = (
            Measurement("accuracy", 0.9, "measured", "validation"),
            Measurement("latency_ms", float("nan"), "measured"),
        )
        store.append(Trial(Candidate({}), failed, labels={"role": "zoo", "name": "net"}))
        text = page(store).read_text()
    dom = Dom(text)
    assert "Not a number, and left out: latency_ms of net." in text
    assert json.loads(dom.scripts["data"])["rows"][0]["measurements"][1]["value"] is None
    assert dom.plots == {}
