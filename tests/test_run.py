"""The loop: bounded, resumable to the same proposals, and honest about what failed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput
from chipfit.core.types import Candidate, Measurement, Trial
from chipfit.run import search
from chipfit.store.store import Store


class Climber:
    """Draws around the best so far: what it asks depends on its seed and on every reply."""

    def __init__(self, seed: int = 0, space: int = 10**9) -> None:
        self.rng, self.best, self.left, self.told = np.random.default_rng(seed), 0, space, []

    def ask(self, n: int) -> list[Candidate]:
        n = min(n, self.left)
        self.left -= n
        return [Candidate({"x": int(self.best + self.rng.integers(-1000, 1001))}) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        self.told += trials
        good = [t for t in trials if t.error is None]
        self.best = max([self.best, *(int(t.get("accuracy")) for t in good)])


class Evaluation:
    """Accuracy is x; refuses candidates on demand and counts what it was given."""

    def __init__(self, act: Callable[[Candidate, int], None] = lambda _candidate, _number: None) -> None:
        self.act, self.seen = act, []

    def __call__(self, candidates: Sequence[Candidate]) -> list[Trial]:
        trials = []
        for c in candidates:
            self.act(c, len(self.seen))
            self.seen.append(c.key)
            trials.append(Trial(c, (Measurement("accuracy", float(c.values["x"]), "measured"),), labels={"model": "m"}))
        return trials


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "run") as opened:
        yield opened


LABELS = {"role": "candidate"}


def test_it_appends_before_it_tells_and_labels_every_trial(store: Store):
    class Checking(Climber):
        def tell(self, trials: Sequence[Trial]) -> None:
            assert store.trials()[-len(trials) :] == list(trials)
            super().tell(trials)

    strategy, heard = Checking(), []
    done = search(strategy, Evaluation(), store, trials=7, batch=3, labels=LABELS, on_trial=heard.append)
    assert done == store.trials() == strategy.told == heard
    assert len(done) == 7
    assert all(t.labels == {"model": "m", "role": "candidate"} for t in done)


@pytest.mark.parametrize("broken_at", [0, 1, 5, 11])
def test_after_ctrl_c_the_same_call_makes_the_same_trials_and_evaluates_none_twice(tmp_path: Path, broken_at: int):
    def interrupt(_: Candidate, number: int) -> None:
        if number == broken_at:
            raise KeyboardInterrupt

    with Store(tmp_path / "whole") as store:
        whole = search(Climber(), Evaluation(), store, trials=12, batch=2, labels=LABELS)
    first, second = Evaluation(interrupt), Evaluation()
    with Store(tmp_path / "broken") as store, pytest.raises(KeyboardInterrupt):
        search(Climber(), first, store, trials=12, batch=2, labels=LABELS)
    with Store(tmp_path / "broken") as store:
        kept = [t.candidate.key for t in store.trials()]
        heard: list[Trial] = []
        again = search(Climber(), second, store, trials=12, batch=2, labels=LABELS, on_trial=heard.append)
        assert again == whole == store.trials() == heard
    assert len(kept) == broken_at // 2 * 2
    assert not set(kept) & set(second.seen)


def test_a_row_lost_in_the_middle_of_a_batch_is_made_up(tmp_path: Path):
    with Store(tmp_path / "whole") as store:
        whole = search(Climber(), Evaluation(), store, trials=6, batch=3, labels=LABELS)
    with Store(tmp_path / "torn") as store:
        for trial in whole[:4]:
            store.append(trial)
        evaluation = Evaluation()
        assert search(Climber(), evaluation, store, trials=6, batch=3, labels=LABELS) == whole
        assert evaluation.seen == [t.candidate.key for t in whole[4:]]


def test_a_finished_search_evaluates_nothing(store: Store):
    first = search(Climber(), Evaluation(), store, trials=4, labels=LABELS)
    evaluation = Evaluation()
    passed = Deadline.after(0.0, clock=lambda: 0.0)
    assert search(Climber(), evaluation, store, trials=4, labels=LABELS, deadline=passed) == first
    assert evaluation.seen == []


def test_trials_of_other_labels_are_not_taken_for_its_own(store: Store):
    first = search(Climber(), Evaluation(), store, trials=3, labels={"role": "baseline"})
    second = search(Climber(), Evaluation(), store, trials=3, labels=LABELS)
    assert [t.candidate for t in first] == [t.candidate for t in second]
    assert len(store.trials()) == 6


def test_a_strategy_that_repeats_itself_is_answered_from_the_store(store: Store):
    class Stubborn(Climber):
        def ask(self, n: int) -> list[Candidate]:
            return [Candidate({"x": 1})] * n

    evaluation = Evaluation()
    assert len(search(Stubborn(), evaluation, store, trials=5, batch=2, labels=LABELS)) == 5
    assert len(evaluation.seen) == len(store.trials()) == 1


def test_it_ends_when_the_space_is_used_up(store: Store):
    assert len(search(Climber(space=5), Evaluation(), store, trials=100, batch=2, labels=LABELS)) == 5


def test_nothing_is_begun_after_the_deadline(store: Store):
    now = [0.0]

    def work(_: Candidate, __: int) -> None:
        now[0] += 1.0

    deadline = Deadline.after(3.5, clock=lambda: now[0])
    done = search(Climber(), Evaluation(work), store, trials=100, batch=2, labels=LABELS, deadline=deadline)
    assert len(done) == 4
    assert done == store.trials()


def test_a_candidate_that_fails_becomes_a_trial_with_an_error_and_does_not_sink_its_batch(store: Store):
    def refuse(candidate: Candidate, _: int) -> None:
        if candidate.values["x"] % 2:
            raise BadInput("odd widths cannot be exported")

    strategy = Climber(seed=3)
    done = search(strategy, Evaluation(refuse), store, trials=8, batch=4, labels=LABELS)
    assert strategy.told == done == store.trials()
    assert {t.error for t in done} == {None, "odd widths cannot be exported"}
    assert all((t.error is not None) == bool(t.candidate.values["x"] % 2) for t in done)
    assert all(t.labels["role"] == "candidate" for t in done)


def test_programming_errors_propagate(store: Store):
    def trip(_: Candidate, __: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(Climber(), Evaluation(trip), store, trials=2, labels=LABELS)
    assert store.trials() == []


def test_an_evaluator_must_answer_for_what_it_was_given(store: Store):
    with pytest.raises(ValueError, match="evaluator was given candidates"):
        search(Climber(), lambda _: [], store, trials=2, labels=LABELS)
    with pytest.raises(ValueError, match="and answered for"):
        search(Climber(), lambda cs: [Trial(c) for c in reversed(cs)], store, trials=2, batch=2, labels=LABELS)
