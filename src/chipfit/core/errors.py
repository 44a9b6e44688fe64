"""The errors a user can meet, and the exit code each ends the command line with.

    ChipfitError              1   something chipfit could not do, said in one line
    ├─ BadInput               2   a file, option or model that cannot be used as given
    │  ├─ Damaged             2   a file of ours that is no longer what was written
    │  └─ Untraceable         2   a model with an operator that chipfit has no rule for
    └─ Infeasible             3   no candidate can meet the budget; carries the nearest reachable

Programming errors are not in this tree: they propagate.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class ChipfitError(Exception):
    """One line for the user: the value, what is allowed, what to do."""

    exit_code = 1


class BadInput(ChipfitError):
    """A file, option, model or data set that cannot be used as it was given."""

    exit_code = 2


class Damaged(BadInput):
    """A file that chipfit wrote and that is no longer what was written: cut, edited, or eaten by the disk."""


class Note(UserWarning):
    """Something that a user should know and that stops nothing. The command line says it; Python warns."""


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


def as_told(error: BaseException) -> ChipfitError | None:
    """What the system refused, as one line for the user; None for what is a mistake of ours.

    These come from anywhere (a disk that fills up, a name that is too long), so that they are caught in one place.
    """
    if isinstance(error, MemoryError):
        return ChipfitError("not enough memory; give less data, smaller pictures (--resize) or a smaller model")
    if isinstance(error, RecursionError):
        return BadInput("what was given is nested too deeply to be read; give a flatter model or file")
    if isinstance(error, UnicodeEncodeError):
        return BadInput(
            f"{error.object[:60]!r} cannot be written in this system's encoding ({error.encoding}); rename it, or set "
            f"PYTHONUTF8=1"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error, error.errno)
    return None


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_HOW_FULL = "free some space there; XDG_CACHE_HOME moves the cache, TMPDIR temporary files, --out the run"
_NOT_AS_GIVEN = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "give a path that is there",
    errno.ENOTDIR: "a part of it is a file; give another path",
    errno.EISDIR: "give a file",
    errno.EEXIST: "give another name",
    errno.ELOOP: "its links lead to each other; give another path",
    errno.EACCES: "give a place that can be read and written",
    errno.EPERM: "give a place that can be read and written",
    errno.EROFS: "give a place that can be written",
}
"""What the system says of a path -> what to do."""


def _of_system(error: OSError, number: int) -> ChipfitError | None:
    what, place = error.strerror or str(error), f"{error.filename}: " if error.filename is not None else ""
    if number in _NO_ROOM:
        return ChipfitError(f"{place}{what}; {_HOW_FULL}")
    if number == errno.EMFILE:
        return ChipfitError(f"{place}{what}; allow more with: ulimit -n 4096")
    if number in _NOT_AS_GIVEN and error.filename is not None:
        return BadInput(f"{place}{what}; {_NOT_AS_GIVEN[number]}")
    return None


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the closest allowed word, or an empty string.

    >>> did_you_mean("acuracy", ["accuracy", "latency_ms"])
    "; did you mean 'accuracy'?"
    """
    words = {word.lower(): word for word in allowed}
    close = difflib.get_close_matches(value.lower(), list(words), n=1, cutoff=0.6)
    return f"; did you mean {words[close[0]]!r}?" if close else ""
