"""Options: written in several ways, read once, checked when they are given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chipfit.api import config_file
from chipfit.api.config import Config
from chipfit.core.errors import BadInput
from chipfit.core.types import Limit


def test_options_mean_the_same_however_they_are_written() -> None:
    texts = Config.of({
        "models": "net.py:build", "max": "latency_ms=60%,size_mb=2", "bits": "8,32", "input_shape": "1x28x28",
        "normalize": "0.5,0.25", "budgets": (), "keep": "stem,head",
    })  # fmt: skip
    values = Config.of({
        "models": ["net.py:build"], "max": {"latency_ms": "60%", "size_mb": 2}, "bits": [32, 8],
        "input_shape": (1, 28, 28), "normalize": [0.5, 0.25], "keep": ["stem", "head"], "seed": None,
    })  # fmt: skip
    assert texts == values
    assert texts.plain() == values.plain()


def test_programs_are_named_by_a_word_and_true_stands_for_those_that_are_known() -> None:
    assert [Config.of({"programs": p}).programs for p in (True, False, "evolved")] == ["known", "none", "evolved"]
    assert Config.of({"programs": "evolved"}).plain()["programs"] == "evolved"
    assert "programs" not in Config.of({"programs": "none"}).plain()  # runs that were stored before there were any
    with pytest.raises(BadInput, match="--programs evolve is not known.*did you mean 'evolved'"):
        Config.of({"programs": "evolve"})


def test_every_budget_holds_the_limits_that_always_hold() -> None:
    c = Config.of({"budgets": "40%,20%", "max": "size_mb=2"})
    always = Limit("size_mb", 2.0)
    assert c.budget_sets == (
        (Limit("latency_ms", 0.4, relative=True), always),
        (Limit("latency_ms", 0.2, relative=True), always),
    )


def test_minimising_tries_a_ladder_of_its_metric() -> None:
    c = Config.of({"minimize": "size_mb", "min": "accuracy=99%"})
    assert [limits[0] for limits in c.budget_sets] == [
        Limit("size_mb", share, relative=True) for share in (0.7, 0.5, 0.35, 0.25)
    ]
    assert c.floor == Limit("accuracy", 0.99, relative=True, at_least=True)


@pytest.mark.parametrize(
    ("before", "limits", "budgets", "after"),
    [
        ({"max": "latency_ms=5,size_mb=2"}, ["latency_ms=3"], [], [["size_mb <= 2", "latency_ms <= 3"]]),
        ({"budgets": "40%,20%"}, ["latency_ms=3"], [], [["latency_ms <= 3"]]),
        ({"max": "latency_ms=5,size_mb=2"}, [], ["30%"], [["latency_ms <= 30%", "size_mb <= 2"]]),
        (
            {"budgets": "40%,20%"}, ["size_mb=2"], [],
            [["latency_ms <= 40%", "size_mb <= 2"], ["latency_ms <= 20%", "size_mb <= 2"]],
        ),
    ],
)  # fmt: skip
def test_a_new_limit_takes_the_place_of_those_on_its_metric(
    before: dict[str, Any], limits: list[str], budgets: list[str], after: list[list[str]]
) -> None:
    changed = Config.of({"models": "a", **before}).with_budget(limits, budgets)
    assert [[str(limit) for limit in each] for each in changed.budget_sets] == after


def test_the_directory_tells_one_set_of_options_from_another() -> None:
    a = Config.of({"models": "zoo:fashion-mnist/resnet8", "max": "latency_ms=5"})
    assert a.directory.parent == Path("runs")
    assert a.directory.name.startswith("fashion-mnist-resnet8-")
    assert a.directory == Config.of({"models": "zoo:fashion-mnist/resnet8", "max": "latency_ms=5"}).directory
    assert a.directory != a.changed(seed=1).directory
    assert a.changed(out="here").directory == Path("here")


def test_the_example_file_can_be_read_and_has_every_option(tmp_path: Path) -> None:
    path = config_file.write_example(tmp_path / "chipfit.yaml")
    config = Config.of(config_file.read(path))
    assert (config.data, config.max, config.time) == ("fashion-mnist", ("latency_ms=60%",), "10m")
    options = "|".join(Config.model_fields)
    whole = re.sub(rf"(?m)^# (?=(?:{options}): )", "", path.read_text())
    assert yaml.safe_load(whole).keys() == Config.model_fields.keys()
    path.write_text(whole)
    assert Config.of(config_file.read(path)) == config


def test_what_a_run_writes_down_is_the_same_configuration(tmp_path: Path) -> None:
    config = Config.of({"models": "a.py:b", "data": "digits", "budgets": "40%,20%", "keep": "stem", "train": False})
    config_file.write(config, tmp_path / "config.yaml")
    assert Config.of(config_file.read(tmp_path / "config.yaml")) == config


def test_the_schema_describes_every_option() -> None:
    properties = config_file.schema()["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == set(Config.model_fields)
    assert all(p["description"] for p in properties.values())  # type: ignore[index,call-overload]
