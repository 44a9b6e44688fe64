"""Who gets how much of `--time`: every phase ends early enough for what comes after it.

What comes last is what a run is for: measuring and scoring the files it ends with. Its seconds are set aside first,
from what the screening of untouched models took, which does the same to other files. Of the rest the menus, then the
assignment get a share at most, and the fine-tune all that is left then. What only the report wants (whether damages add
up, profiles of operators) comes after the files, in time that is left over.
"""

from __future__ import annotations

from chipfit.core.deadline import Deadline
from chipfit.recipes.state import Run

MENU_SHARE, ASSIGN_SHARE = 0.45, 0.35
"""Of the time that is left when they begin and not set aside, where a fine-tune follows."""

UNTRAINED_MENU_SHARE, UNTRAINED_ASSIGN_SHARE = 0.6, 0.9
"""The same where none follows."""

ROUND_S = 2.5
"""Seconds that a file takes to be timed at last: rounds of blocks that lie apart, whatever the network."""

PAGE_S = 6.0
"""Seconds for the page, the card and the files of the directory."""

TEST_TO_VALIDATION = 2.0
"""What the test part is taken to hold, in validation parts, before it is opened."""


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


def menus_until(run: Run) -> Deadline:
    """When the last menu has to be open."""
    return _share(run, MENU_SHARE if _trains(run) else UNTRAINED_MENU_SHARE)


def assigned_until(run: Run) -> Deadline:
    """When every budget has to have its designs."""
    return _share(run, ASSIGN_SHARE if _trains(run) else UNTRAINED_ASSIGN_SHARE)


def trained_until(run: Run, files: int) -> Deadline:
    """When the fine-tune has to end, so that so many files can be measured."""
    return run.deadline.before(closing_s(run, files))


def _share(run: Run, share: float) -> Deadline:
    return run.deadline.before(closing_s(run, expected_files(run))).share(share)


def _trains(run: Run) -> bool:
    return run.settings.train and run.settings.epochs != 0
