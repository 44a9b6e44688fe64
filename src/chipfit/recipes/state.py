"""What the stages of one fit share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Progress, Settings
from chipfit.store.arrays import ArrayFolder, Arrays
from chipfit.store.store import Store


@dataclass
class Run:
    """Inputs, tools and limits of a fit, and the seconds that each phase has taken so far.

    `profiles` is where profiles of networks outlive the run, for another device or budget.
    """

    entries: Sequence[Entry]
    dataset: Dataset
    settings: Settings
    store: Store
    timing: Timing
    deployer: Deployer
    deadline: Deadline
    progress: Progress
    phases: dict[str, float] = field(default_factory=dict)
    profiles: ArrayFolder | None = None

    def remembered(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """What `profiles` holds under a name, else what is made now, kept there."""
        known = self.profiles.get(name) if self.profiles is not None else None
        if known is not None:
            return known
        made = make()
        if self.profiles is not None:
            self.profiles.put(name, made)
        return made

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds of what is done inside to the phase, in the store as soon as it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began
            self.store.set_fact("phases", [[n, s] for n, s in self.phases.items()])
