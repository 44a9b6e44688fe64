"""How far a schedule has come: as planned where the machine keeps up, faster where it does not.

A schedule that stops half-way is worse than a short one: its rate has not come down and nothing was averaged. So the
steps that are left are planned anew after each step, from the time that is left and what the last steps took:

    progress += (1 - progress) / (1 + steps left),    steps left = min(planned - done, time left / time of a step)

which is done / planned while there is time, and reaches 1 by the deadline whatever the machine does in between.
"""

from __future__ import annotations

from collections import deque

from chipfit.core.deadline import Deadline

LOOKS_BACK = 8
"""Steps whose mean, without the longest, is the time of a step.

One that stood still for a while does not count; where every third is held up, though, a median would promise steps
that there is no time for, and the end of the schedule would be short.
"""

RESERVE = 0.99
"""Of the time that is left, for steps: writing back what was averaged takes some."""


class Pace:
    """Progress (0..1) of a schedule of `planned` steps that has to end by a deadline."""

    def __init__(self, planned: int, deadline: Deadline) -> None:
        self.planned, self.deadline = planned, deadline
        self.steps = 0
        self._took: deque[float] = deque(maxlen=LOOKS_BACK)
        self._mark = deadline.clock()
        self._behind = False
        self.progress = 1.0 if planned < 1 or deadline.passed() else 0.0

    @property
    def ended(self) -> bool:
        """True when the schedule has come to its end."""
        return self.progress >= 1.0

    @property
    def whole(self) -> bool:
        """True when it came to its end by steps."""
        return self.ended and self.steps > 0

    def step(self) -> None:
        """One more step is done."""
        now = self.deadline.clock()
        if self.steps == 1:
            self._took.clear()  # the first step also prepares kernels
        self._took.append(now - self._mark)
        self._mark = now
        self.steps += 1
        left = self.planned - self.steps
        if self.deadline.limited:
            affordable = int(RESERVE * self.deadline.left() / max(self._step_s(), 1e-9))
            self._behind = self._behind or affordable < left
            left = min(left, affordable)
        if left < 1:
            self.progress = 1.0
        elif self._behind:
            self.progress += (1.0 - self.progress) / (1 + left)
        else:
            self.progress = self.steps / self.planned

    def _step_s(self) -> float:
        took = sorted(self._took)[:-1] if len(self._took) > 2 else self._took
        return sum(took) / len(took)
