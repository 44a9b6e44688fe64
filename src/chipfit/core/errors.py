"""The errors a user can meet, and the exit code each ends the command line with.

    ChipfitError              1   something chipfit could not do, said in one line
    ├─ BadInput               2   a file, option or model that cannot be used as given
    │  └─ Untraceable         2   a model with an operator that chipfit has no rule for
    └─ Infeasible             3   no candidate can meet the budget; carries the nearest reachable

Programming errors are not in this tree: they propagate.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class ChipfitError(Exception):
    """One line for the user: the value, what is allowed, what to do."""

    exit_code = 1


class BadInput(ChipfitError):
    """A file, option, model or data set that cannot be used as it was given."""

    exit_code = 2


class OutOfTime(ChipfitError):
    """A deadline came before there was any answer."""


class Untraceable(BadInput):
    """A model that holds an operator without a rule; the message names the operator."""


@dataclass(eq=False)
class Infeasible(ChipfitError):
    """No design in the space meets the budget.

    `nearest` maps each limited metric to the least value that can be reached.
    """

    message: str
    nearest: Mapping[str, float]

    exit_code = 3

    def __str__(self) -> str:
        return self.message


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the closest allowed word, or an empty string.

    >>> did_you_mean("acuracy", ["accuracy", "latency_ms"])
    "; did you mean 'accuracy'?"
    """
    close = difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
