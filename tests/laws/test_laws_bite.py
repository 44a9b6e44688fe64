"""The laws hold for what is right and name what is wrong: each breach is caught by the law that forbids it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from chipfit.core.types import Candidate, Measurement, Trial
from chipfit.search.random import Random
from chipfit.space.choices import Choices
from chipfit.testing import EvaluatorLaws, SpaceLaws, StrategyLaws

Breaches = Callable[[object], set[str]]


def test_the_laws_need_no_framework() -> None:
    code = "import sys, chipfit.testing; sys.exit(any(m in sys.modules for m in ('torch', 'onnx', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


# --- spaces

INNER = Choices({"a": (0, 1, 2), "b": (0, 1, 2)})


@dataclass
class Patched:
    """A right space with one method replaced."""

    wrong: dict[str, Callable]

    def __getattr__(self, name: str) -> object:
        return self.wrong.get(name) or getattr(INNER, name)


class AnySpace(SpaceLaws):
    def __init__(self, **wrong: Callable) -> None:
        self.wrong = wrong

    def space(self) -> Patched:  # type: ignore[override]
        return Patched(self.wrong)


def constant(*_: object) -> Candidate:
    return Candidate({"a": 1, "b": 1})


def outside(*_: object) -> Candidate:
    return Candidate({"a": 1, "b": 1, "c": 1})


def spoilt(genes: np.ndarray) -> Candidate:
    found = INNER.decode(genes)
    genes += 1
    return found


def spoil(candidate: Candidate, *_: object) -> Candidate:
    candidate.values["a"] = (candidate.values["a"] + 1) % 3  # type: ignore[index,operator]
    return constant()


STATE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"sample": constant}, "samples_differ_where_they_can"),
        ({"sample": lambda rng: INNER.sample(STATE)}, "one_seed_gives_one_sequence"),
        ({"sample": outside}, "samples_are_inside"),
        ({"sample": lambda rng: Candidate({"a": 1, "b": (0, math.nan)[0], 3: 1})}, "values_are_plain"),
        ({"encode": lambda c: INNER.encode(c).astype(float)}, "samples_are_inside"),
        ({"encode": lambda c: INNER.encode(c) + 1}, "samples_are_inside"),
        ({"encode": lambda c: INNER.encode(c)[:1]}, "samples_are_inside"),
        ({"decode": spoilt}, "any_genes_are_repaired"),
        ({"mutate": lambda c, rng: c}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": outside}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": spoil}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": lambda c, rng: INNER.mutate(c, STATE)}, "variation_repeats_with_its_seed"),
        ({"cross": outside}, "crossing_stays_inside"),
        ({"cross": spoil}, "crossing_stays_inside"),
        ({"cross": constant}, "crossing_a_candidate_with_itself_gives_it_back"),
    ],
)
def test_a_wrong_space_is_caught(wrong: dict[str, Callable], law: str, breaches: Breaches) -> None:
    assert breaches(AnySpace()) == set()
    assert law in breaches(AnySpace(**wrong))


# --- strategies


class Twice(Random):
    """Forgets what it proposed."""

    def ask(self, n: int) -> list[Candidate]:
        return [self.space.sample(self.rng) for _ in range(n)]


class Deaf(Random):
    """Does not listen to what it is told."""

    def tell(self, trials: Sequence[Trial]) -> None:
        pass


class Hurt(Random):
    """Gives up at the first failed trial."""

    def tell(self, trials: Sequence[Trial]) -> None:
        Random.tell(self, trials)
        if any(t.error for t in trials):
            self._seen.update(self.space.decode(np.array(g)).key for g in np.ndindex(3, 3))


class Greedy(Random):
    """Gives more than was asked for."""

    def ask(self, n: int) -> list[Candidate]:
        return Random.ask(self, n + 1)


class Unsettled(Random):
    """Changes its mind when it is told nothing."""

    def tell(self, trials: Sequence[Trial]) -> None:
        Random.tell(self, trials)
        self.rng.random()


class AnyStrategy(StrategyLaws):
    def __init__(self, make: Callable[[int], Random]) -> None:
        self.make = make

    def strategy(self, seed: int) -> Random:
        return self.make(seed)

    def reply(self, candidate: Candidate) -> Trial:
        return Trial(candidate, (Measurement("damage", 0.0, "counted"),))

    def size(self) -> int:
        return 9


def seeded(kind: type[Random]) -> Callable[[int], Random]:
    return lambda seed: kind(INNER, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("make", "law"),
    [
        (seeded(Twice), "nothing_is_proposed_twice_and_all_is_proposed"),
        (seeded(Deaf), "trials_of_an_earlier_run_are_not_proposed_again"),
        (seeded(Hurt), "failed_trials_are_survived"),
        (seeded(Greedy), "asking_for_nothing_gives_nothing"),
        (seeded(Unsettled), "telling_nothing_changes_nothing"),
        (lambda seed: Random(INNER, STATE), "the_same_replies_give_the_same_proposals"),
        (lambda seed: Random(INNER, np.random.default_rng(0)), "seeds_differ"),
    ],
)
def test_a_wrong_strategy_is_caught(make: Callable[[int], Random], law: str, breaches: Breaches) -> None:
    class Small(AnyStrategy):
        batch = 2  # 9 candidates are more than two batches, so that seeds can differ

    assert breaches(Small(seeded(Random))) == set()
    assert law in breaches(Small(make))


# --- evaluators


def measured(value: float, metric: str = "damage", spread: float = 0.0) -> tuple[Measurement, ...]:
    return (Measurement(metric, value, "counted", spread=spread),)


def evaluate(candidates: Sequence[Candidate]) -> list[Trial]:
    return [
        Trial(c, error="it is broken") if c.values["a"] == 2 else Trial(c, measured(float(c.values["a"])))  # type: ignore[arg-type]
        for c in candidates
    ]


BROKEN = Candidate({"a": 2, "b": 0})


class AnyEvaluator(EvaluatorLaws):
    def __init__(self, call: Callable, broken: Candidate | None = BROKEN) -> None:
        self.call, self.bad = call, broken

    def evaluator(self) -> Callable:  # type: ignore[override]
        return self.call

    def candidates(self) -> list[Candidate]:
        return [Candidate({"a": 0, "b": 0}), Candidate({"a": 1, "b": 0})]

    def broken(self) -> Candidate | None:
        return self.bad


@pytest.mark.parametrize(
    ("call", "law"),
    [
        (lambda cs: evaluate(cs)[::-1], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(1.0, "beauty")) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(math.nan)) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(1.0) * 2) for c in cs], "one_trial_for_each_candidate_in_order"),
        (
            lambda cs: [Trial(c, measured(1.0, m)) for c, m in zip(cs, ("damage", "macs"), strict=False)],
            "every_trial_has_the_same_metrics",
        ),
        (lambda cs: evaluate([*cs, *cs[:1]] or [Candidate({"a": 1})]), "no_candidates_give_no_trials"),
        (lambda cs: [Trial(c, measured(STATE.random(), spread=1e-6)) for c in cs], "a_second_look_agrees"),
        (lambda cs: [Trial(c, measured(1.0)) for c in cs], "a_failure_stays_with_its_candidate"),
        (
            lambda cs: evaluate(cs) if len(cs) < 3 else [Trial(c, error="one is broken") for c in cs],
            "a_failure_stays_with_its_candidate",
        ),
    ],
)
def test_a_wrong_evaluator_is_caught(call: Callable, law: str, breaches: Breaches) -> None:
    assert breaches(AnyEvaluator(evaluate)) == set()
    assert law in breaches(AnyEvaluator(call))


def test_an_evaluator_that_cannot_fail_is_not_asked_to(breaches: Breaches) -> None:
    assert breaches(AnyEvaluator(evaluate, broken=None)) == set()
    assert EvaluatorLaws().broken() is None
