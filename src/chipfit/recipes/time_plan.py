"""Who gets how much of `--time`: every phase ends early enough for what comes after it.

What comes last is what a run is for: measuring and scoring the files it ends with. Its seconds are set aside first,
from what the screening of untouched models took, which does the same to other files. Of the rest the menus, then the
assignment get a share at most, and the fine-tune all that is left then. What only the report wants (whether damages add
up, profiles of operators) comes after the files, in time that is left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.evaluate.in_time import PER_INPUT, PER_OPTION, pass_s
from chipfit.evaluate.parts import WHOLE
from chipfit.evaluate.screen import Screened
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Settings
from chipfit.recipes.state import Run
from chipfit.recipes.tuned import Tuned
from chipfit.store.store import Store

MENU_SHARE, ASSIGN_SHARE = 0.65, 0.35
"""Of the time that is left when they begin and not set aside: a design is worth more than steps of a worse one."""

PROFILE_SHARE, PROFILE_LEAST_S, PROFILE_MOST_S = 0.2, 90.0, 900.0
"""Of all time, what one menu should take, and seconds that it may take in any case and at most."""

LEAST_SHARE = 0.25
"""Of all that is left, for either: without a design there may be nothing to measure."""

UNTRAINED_ASSIGN_SHARE = 0.9
"""The second where no fine-tune follows."""

ROUND_S = 2.5
"""Seconds that a file takes to be timed at last: rounds of blocks that lie apart, whatever the network."""

PAGE_S = 6.0
"""Seconds for the page, the card and the files of the directory."""

TEST_TO_VALIDATION = 2.0
"""What the test part is taken to hold, in validation parts, before it is opened."""


SCORE_SHARE = 0.3
"""Of all time, at most, for scoring files on validation and test."""

FEWEST_SCORED = 200
"""Validation inputs that files are scored on at least: an accuracy of 50 % is then known to 3.5 points."""


def closing_s(run: Run, files: int) -> float:
    """Seconds for measuring so many files, for scoring them and the untouched ones on the test part, and for the page.

    `Run.file_s` is what exporting, checking, timing and scoring one untouched file took.
    """
    finals = files * max(run.file_s, ROUND_S)
    test = TEST_TO_VALIDATION * run.score_s * (files + len(run.entries) * len(run.settings.bits))
    return finals + test + PAGE_S


def expected_files(run: Run) -> int:
    """Files at the end: finalists as trained and as repaired, and a uniform baseline, for each budget."""
    trained = 2 if _trains(run) else 1
    return len(run.settings.budgets) * (trained * run.settings.finalists + int(run.settings.baselines))


def measured_from(run: Run) -> Deadline:
    """When at the latest the files have to be measured."""
    return run.deadline.before(closing_s(run, expected_files(run)))


def menus_until(run: Run) -> Deadline:
    """When the last menu has to be open."""
    return _share(run, MENU_SHARE)


def menu_s(run: Run) -> float:
    """Seconds that one menu should take; where all of it would take longer, it is opened in quicker ways."""
    if run.settings.profile_s is not None:
        return run.settings.profile_s
    return min(PROFILE_MOST_S, max(PROFILE_LEAST_S, PROFILE_SHARE * run.settings.time_s))


def assigned_until(run: Run) -> Deadline:
    """When every budget has to have its designs."""
    return _share(run, ASSIGN_SHARE if _trains(run) else UNTRAINED_ASSIGN_SHARE)


def trained_until(run: Run, files: int) -> Deadline:
    """When the fine-tune has to end, so that so many files can be measured."""
    return run.deadline.before(closing_s(run, files))


def scored_in_time(
    dataset: Dataset, entries: Sequence[Entry], settings: Settings, store: Store, deadline: Deadline
) -> Dataset:
    """The data set with as many validation and test inputs as there is time to score every file on, drawn.

    All of them as a rule; the same number when a run is taken up again.
    """
    n = len(dataset.validation)
    if not deadline.limited or not n:
        return dataset
    fact = cast(int | None, store.fact("scored inputs"))
    if fact is None:
        file_s = n * max(pass_s(e.network) for e in entries)
        files = len(entries) * len(settings.bits) + 3 * len(settings.budgets)
        allowed_s = SCORE_SHARE * deadline.left() / (files * (1 + TEST_TO_VALIDATION))
        fact = min(n, max(FEWEST_SCORED, int(n * allowed_s / max(file_s, 1e-9))))
        store.set_fact("scored inputs", fact)
    if fact >= n:
        return dataset
    most, note = round(TEST_TO_VALIDATION * fact), f"for want of time scores are of {fact} validation inputs"
    return replace(
        dataset, validation=_drawn(dataset.validation, fact), open_test=lambda: _drawn(dataset.open_test(), most),
        notes=(*dataset.notes, f"{note} and at most {most} test inputs, drawn"),
    )  # fmt: skip


def _drawn(split: Split, n: int) -> Split:
    """`n` rows, drawn: every so many would all be of some classes where the rows are in turns."""
    return split.take(np.sort(np.random.default_rng(0).permutation(len(split))[:n]))


def note_files(run: Run, rows: Sequence[Screened], took_s: float) -> None:
    """Notes what exporting, timing and scoring these files took, for those that come at the end.

    Timings that were remembered cost nothing; so an earlier session of the run may know better.
    """
    known = cast(float, run.store.fact("seconds a file") or 0.0)
    run.file_s = max(known, took_s / max(1, len(rows)))
    run.store.set_fact("seconds a file", run.file_s)
    ms = [r.latency_ms for r in rows if r.trial.error is None]
    run.score_s = float(np.mean(ms)) / 1e3 * len(run.dataset.validation) if ms and run.dataset.labelled else 0.0


def in_time(run: Run, tuned: Sequence[Tuned]) -> list[Tuned]:
    """Those of the networks that there is time to measure, the most wanted ones first: trained, repaired, baselines."""
    wanted = sorted(tuned, key=lambda t: (t.role == "baseline", t.steps is None))
    if not run.deadline.limited:
        return wanted
    left = run.deadline.left()
    n = next((n for n in range(len(wanted), 0, -1) if closing_s(run, n) - PAGE_S <= left), 1)
    if n < len(wanted):
        run.curtailed("measure", f"{len(wanted) - n} of {len(wanted)} files are not measured")
    return wanted[:n]


def needed_s(run: Run, entry: Entry) -> float:
    """Seconds, roughly, in which a model could be given designs: for menu, assignment and files."""
    options = 2 * len(entry.network.graph.ops)
    scores = WHOLE * pass_s(entry.network) * (PER_INPUT + PER_OPTION * options)
    return (scores + closing_s(run, expected_files(run))) / MENU_SHARE


def _share(run: Run, share: float) -> Deadline:
    rest = measured_from(run).share(share)
    least = run.deadline.share(LEAST_SHARE)
    return rest if rest.at >= least.at else least


def _trains(run: Run) -> bool:
    return run.settings.train and run.settings.epochs != 0
