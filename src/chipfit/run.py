"""The one loop: ask, evaluate, append, tell.

Going on after a crash needs no state but the trials: the same strategy with the same seed, given the same replies,
makes the same proposals. So the loop starts from the beginning, answers from the store what the store knows, and
evaluates from the first candidate that it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.core.protocols import Evaluator, Strategy
from chipfit.core.types import Candidate, Trial
from chipfit.store.store import Store

OnTrial = Callable[[Trial], None]


def search(
    strategy: Strategy,
    evaluator: Evaluator,
    store: Store,
    *,
    trials: int,
    batch: int = 1,
    labels: Mapping[str, str] | None = None,
    deadline: Deadline | None = None,
    on_trial: OnTrial | None = None,
) -> list[Trial]:
    """Up to `trials` trials of what the strategy proposes, each in the store before the strategy hears of it.

    Ends early when nothing is left to propose, or at the deadline: work in flight is finished, none is begun. Where the
    evaluator raises a `ChipfitError`, the candidate becomes a trial with that error; programming errors and Ctrl-C pass
    through, and the same call on the same store goes on, with a fresh strategy that is led through the stored replies.

    Args:
        strategy: who proposes.
        evaluator: returns one trial per candidate, in order.
        store: who remembers.
        trials: how many in all, those already stored included.
        batch: candidates per ask; must be the same when going on.
        labels: mark the trials of this search, and must tell it from other searches in the store.
        deadline: none by default.
        on_trial: called with each trial in order, those already stored included.

    Raises:
        ValueError: the evaluator did not answer for the candidates it was given.
    """
    until, marks, hear = deadline or Deadline.never(), dict(labels or {}), on_trial or _nobody
    known = {t.candidate.key: t for t in store.trials(**marks)}
    done: list[Trial] = []
    while len(done) < trials and (asked := strategy.ask(min(batch, trials - len(done)))):
        fresh = list({c.key: c for c in asked if c.key not in known}.values())
        for trial in _evaluated(evaluator, fresh) if fresh and not until.passed() else ():
            known[trial.candidate.key] = marked = replace(trial, labels={**trial.labels, **marks})
            store.append(marked)
        replies = [known[c.key] for c in asked if c.key in known]
        done += replies
        for trial in replies:
            hear(trial)
        if len(replies) < len(asked):
            break
        strategy.tell(replies)
    return done


def _nobody(_: Trial) -> None:
    """Hears of trials where nobody else does."""


def _evaluated(evaluator: Evaluator, candidates: Sequence[Candidate]) -> list[Trial]:
    """One trial per candidate. Of a batch that fails as a whole each is tried alone: one must not sink the others."""
    try:
        made = evaluator(candidates)
    except ChipfitError as e:
        if len(candidates) == 1:
            return [Trial(candidates[0], error=str(e))]
        return [t for c in candidates for t in _evaluated(evaluator, [c])]
    wanted, answered = [c.key for c in candidates], [t.candidate.key for t in made]
    if wanted != answered:
        raise ValueError(f"evaluator was given candidates {wanted} and answered for {answered}")
    return made
