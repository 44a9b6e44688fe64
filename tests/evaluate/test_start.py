"""Menus are opened by two threads at once: when one of them is stopped, so is the other."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from time import sleep
from typing import Any

import pytest

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.evaluate import start
from chipfit.evaluate.damage import Scorer
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from made_up import Memory
from recipes import small


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def plain(dataset: Dataset) -> Entry:
    return small.entries(dataset, steps=2)[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_scoring_ends_with_the_score_at_which_the_other_thread_was_stopped(
    error: type[BaseException], plain: Entry, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, deadlines, began, real = list[Sequence[Edit]](), list[Deadline](), Event(), start.damage

    def watched(*args: Any, deadline: Deadline, **named: Any) -> Any:
        deadlines.append(deadline)
        return real(*args, deadline=deadline, **named)

    def slow(_: Scorer, edits: Sequence[Edit]) -> tuple[float, float]:
        scored.append(edits)
        began.set()
        for _ in range(2000):
            if deadlines[0].passed():
                break
            sleep(0.005)
        return 0.1, 0.0

    def interrupted(*_: Any, **__: Any) -> Any:
        assert began.wait(60)
        assert not deadlines[0].passed()
        raise error

    monkeypatch.setattr(start, "damage", watched)
    monkeypatch.setattr(start, "_priced", interrupted)
    monkeypatch.setattr(Scorer, "scored", slow)
    with pytest.raises(error):
        start.open_start(plain, dataset, Timing(Null(), Memory()))
    assert deadlines[0].passed()
    assert len(scored) == 1
