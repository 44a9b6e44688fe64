"""Which calibration inputs (rows of train) serve what: options are never scored on inputs they were repaired on.

Of `WHOLE` inputs or more, 1,024 compensate and repair, and three times 192 others score: the options (`damage`), whole
designs while a search corrects itself (`truth`), and what the search found (`confirmation`). Fewer inputs are shared
out in the same proportion (64 % and three times 12 %). A part that is scored on keeps `SCORED_AT_LEAST` inputs as long
as there are so many beside those for compensation, and the three parts then overlap: an estimate from a dozen inputs
would err by more than what a search gains on it by choosing (its optimism). From `FEWEST` inputs on this works, with
an error that is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.core.errors import BadInput

COMPENSATION = 1024
"""Most inputs for compensation and repair."""

SCORED = 192
"""Most inputs for each of option damage, true scores, confirmation."""

WHOLE = COMPENSATION + 3 * SCORED
"""Inputs from which on no part grows any more."""

SCORED_AT_LEAST = 64
"""Inputs below which a part is not made smaller to be kept apart from the others that are scored on."""

KEPT_FOR_SCORES = 8
"""Inputs that are not compensated on, however few there are."""

FEWEST = 16
"""Training inputs without which nothing is estimated: 8 to compensate on, 8 to score on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of the (shuffled) calibration inputs that serve each purpose."""

    compensation: slice
    damage: slice
    truth: slice
    confirmation: slice

    @property
    def overlapping(self) -> bool:
        """True where designs are corrected and confirmed on inputs that the options were scored on too."""
        return bool(self.truth.start < self.damage.stop or self.confirmation.start < self.truth.stop)


def parts_of(n: int) -> Parts:
    """The parts of `n` calibration inputs.

    >>> parts_of(60_000).damage, parts_of(60_000).overlapping
    (slice(1024, 1216, None), False)
    >>> parts_of(16).damage, parts_of(16).overlapping
    (slice(8, 16, None), True)

    Raises:
        BadInput: fewer than `FEWEST`.
    """
    check_enough(n)
    compensation = min(COMPENSATION, round(n * COMPENSATION / WHOLE), n - KEPT_FOR_SCORES)
    rest = min(n, WHOLE) - compensation
    scored = min(rest, max(rest // 3, SCORED_AT_LEAST))
    first, last = compensation, compensation + rest - scored
    starts = (first, (first + last) // 2, last)
    damage, truth, confirmation = (slice(start, start + scored) for start in starts)
    return Parts(slice(0, compensation), damage, truth, confirmation)


def check_enough(n: int) -> None:
    """Raises BadInput where `n` training inputs are too few to estimate anything on."""
    if n < FEWEST:
        raise BadInput(
            f"the training part holds {n} input{'s' * (n != 1)}, and at least {FEWEST} are needed to calibrate and "
            f"score on; give more rows (20 where validation and test are cut from them; labels are not needed with "
            f"--no-train)"
        )
