"""A teacher's answers, computed once: logits for a few fixed views of the training inputs.

With stored logits no teacher runs in the training loop, which on a processor halves the price of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chipfit.core.data import Dataset, release
from chipfit.nets.accelerator import fast_bf16, here
from chipfit.nets.ending import as_logits
from chipfit.train.loop import Views, answered_at_once, as_tensor, normaliser, placed, shifted
from chipfit.train.memory import in_halves

View = tuple[bool, int, int]
"""(flip, dy, dx): how a picture is moved before the teacher sees it."""


def view_list(dataset: Dataset, n: int) -> tuple[View, ...]:
    """Up to `n` (flip, dy, dx): identity, mirror, then two small moves, as far as the data's augmentation allows.

    Moves by all that the augmentation allows cost a small student up to half a point: it is asked what it will not see.
    """
    s = (dataset.shift + 1) // 2
    views = [(False, 0, 0)]
    if dataset.flip:
        views.append((True, 0, 0))
    if s:
        views += [(False, 0, s), (dataset.flip, -s, 0)]
    return tuple(views[: max(1, n)])


def views_for(epochs: float) -> int:
    """How many views pay on a schedule of this length: one for a glance, two for some epochs, more for many."""
    return 1 if epochs < 1.5 else int(np.clip(np.ceil(epochs / 4), 2, 4))


def teach(teacher: nn.Module, dataset: Dataset, n_views: int) -> Views:
    """The teacher's answers (views, n, ...) to the training inputs."""
    views = view_list(dataset, n_views)
    return joined([answers(teacher, dataset, view) for view in views])


@torch.inference_mode()
def answers(teacher: nn.Module, dataset: Dataset, view: View, first: int | None = None) -> Views:
    """The teacher's answers to one view of the training inputs, or to the `first` of them.

    Logits are kept as float16; numbers, which may be beyond its range, as float32.
    """
    task = dataset.task
    kind = torch.float32 if task.divergence == "squared" else torch.float16
    device, normalise, inputs = here(), normaliser(dataset), as_tensor(dataset.train.take(slice(first)))
    placed(teacher, device).eval()
    parts, batch = [], answered_at_once(dataset)
    for start in range(0, len(inputs), batch):
        x = inputs[start : start + batch]
        moved = shifted(x, *view) if x.ndim == 4 else x
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16()):
            parts.append(in_halves(lambda y: as_logits(teacher(normalise(y)), task).to(kind), moved.to(device)).cpu())
        release(dataset.train.inputs)
    return Views(torch.cat(parts)[None], (view,))


def joined(each: Sequence[Views]) -> Views:
    """The views of several as one."""
    return Views(torch.cat([v.logits for v in each]), tuple(shift for v in each for shift in v.shifts))


def to_arrays(views: Views) -> dict[str, NDArray[Any]]:
    """Plain arrays of the views, for storing and for other processes."""
    return {"logits": views.logits.numpy(), "shifts": np.array(views.shifts, np.int64)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Views:
    """The views that `to_arrays` wrote."""
    shifts = tuple((bool(f), int(dy), int(dx)) for f, dy, dx in arrays["shifts"])
    return Views(torch.from_numpy(arrays["logits"]), shifts)
