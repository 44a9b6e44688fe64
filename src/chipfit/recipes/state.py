"""What the stages of one fit share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.types import Plain
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.timing import Latencies
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Progress, Settings
from chipfit.store.arrays import ArrayFolder, Arrays
from chipfit.store.programs import ProgramLibrary
from chipfit.store.store import Store


@dataclass
class Run:
    """Inputs, tools and limits of a fit, and the seconds that each phase has taken so far.

    `profiles` is where profiles of networks outlive the run, for another device or budget, and `library` where programs
    of operators do. `file_s` is what it took to export, check, time and score one untouched file, `score_s` to score it
    on validation (0 where that is not known).
    """

    entries: Sequence[Entry]
    dataset: Dataset
    settings: Settings
    store: Store
    timing: Latencies
    deployer: Deployer
    deadline: Deadline
    progress: Progress
    phases: dict[str, float] = field(default_factory=dict)
    profiles: ArrayFolder | None = None
    library: ProgramLibrary | None = None
    file_s: float = 0.0
    score_s: float = 0.0

    def recalled(self, name: str) -> Arrays | None:
        """What the run itself or `profiles` holds under a name."""
        known = self.store.arrays(name)
        return known if known is not None or self.profiles is None else self.profiles.get(name)

    def keep(self, name: str, made: Arrays) -> None:
        """Keeps arrays under a name, in the run and in `profiles`."""
        self.store.put_arrays(name, made)
        if self.profiles is not None:
            self.profiles.put(name, made)

    def curtailed(self, phase: str, what: str) -> None:
        """Tells, now and in the report (fact "curtailed"), what the time was too short for."""
        self.progress(phase, f"short of time: {what}")
        told = cast(list[list[str]], self.store.fact("curtailed") or [])
        if [phase, what] not in told:
            self.store.set_fact("curtailed", cast(Plain, [*told, [phase, what]]))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds of what is done inside to the phase, in the store as soon as it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began
            self.store.set_fact("phases", [[n, s] for n, s in self.phases.items()])
