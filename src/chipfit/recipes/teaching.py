"""The teacher's answers for a fine-tune: looked for first, made where there is time for them.

They depend on the teacher, the data and the view alone, so that another budget, another device or a resumed run finds
each view that was ever answered.
"""

from __future__ import annotations

import time

from chipfit.core.deadline import Deadline
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry
from chipfit.recipes.state import Run
from chipfit.store.arrays import Arrays
from chipfit.train.distill import View, answers, from_arrays, joined, to_arrays, view_list
from chipfit.train.loop import Views

AT_MOST = 0.2
"""Share of a fine-tune's time for the teacher's answers: with labels fewer views, or none, do too."""

MOST_BYTES = 2**30
"""Bytes of answers that are held for a fine-tune, where they are maps or sequences (1 GiB)."""

LOOK_INPUTS = 64
"""Inputs whose answers tell how long a view takes."""


def taught(run: Run, teacher: Entry, n_views: int, until: Deadline) -> Views | None:
    """The teacher's answers to up to `n_views` views, as many as there is time for; None where there is none.

    Without labels nothing else teaches: then one view is answered whatever it takes of the fine-tune's time, if it
    fits there at all.
    """
    found: list[Views] = []
    n_views = min(n_views, _held_at_once(run, teacher))
    if not n_views:
        run.curtailed("fine-tune", f"{teacher.name} is not asked: its answers to all training inputs are too large")
        return None
    whole = until.left()
    for n, view in enumerate(view_list(run.dataset, n_views)):
        made = known(run, teacher, view)
        if made is None:
            share = AT_MOST if run.dataset.labelled or n else 0.8
            if until.limited and view_s(teacher, run) > share * whole - (whole - until.left()):
                run.curtailed("fine-tune", f"{n} of {n_views} views were answered by the teacher")
                break
            made = to_arrays(answers(build(teacher.network), run.dataset, view))
            run.keep(_name(run, teacher, view), made)
        found.append(from_arrays(made))
    return joined(found) if found else None


def _held_at_once(run: Run, teacher: Entry) -> int:
    """Views whose answers memory has room for."""
    graph = teacher.network.graph
    each = 4 if run.dataset.task.divergence == "squared" else 2
    return MOST_BYTES // max(1, each * graph[graph.output].size * len(run.dataset.train))


def known(run: Run, teacher: Entry, view: View) -> Arrays | None:
    """The teacher's answers to a view, where they were ever made."""
    return run.recalled(_name(run, teacher, view))


def _name(run: Run, teacher: Entry, view: View) -> str:
    return f"answers of {teacher.network.digest()} on {run.dataset.digest()}, view {view}"


def view_s(teacher: Entry, run: Run) -> float:
    """Seconds that one view of the training inputs takes, from a few of them."""
    net, n = build(teacher.network), min(LOOK_INPUTS, len(run.dataset.train))
    for _ in range(2):  # the first also prepares kernels
        began = time.perf_counter()
        answers(net, run.dataset, (False, 0, 0), first=n)
        took = time.perf_counter() - began
    return took * len(run.dataset.train) / max(1, n)
