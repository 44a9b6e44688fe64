"""What a network is for: how its answers are trained, held against each other, and judged.

A task is told (`--task`, or a loss of the user's `my_data.py`), or seen in the targets beside the network's answers:

| answers        | targets               | task           | loss                 | damage      | metric   |
|----------------|-----------------------|----------------|----------------------|-------------|----------|
| (n, k)         | (n,) class numbers    | classification | cross-entropy        | `kl`        | accuracy |
| (n, ...)       | the same, of 0 and 1  | multi-label    | binary cross-entropy | `bernoulli` | f1       |
| (n,), (n, d)   | the same, numbers     | regression     | squared error        | `squared`   | rmse     |
| (n, k, ...)    | (n, ...) classes      | segmentation   | cross-entropy        | `kl`        | iou      |
| (n, ..., k)    | (n, ...) classes      | tokens         | cross-entropy        | `kl`        | accuracy |
| (n, C, H, W)   | the same, numbers     | image          | squared error        | `squared`   | psnr     |

Damage is in nats throughout (`evaluate.divergence`): of class probabilities, of yes-or-no labels, and of numbers as of
normal distributions around them with the variance that the original's answers have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.metric import ACCURACY, F1, IOU, KNOWN, MAE, PSNR, R2, RMSE, Metric, Scored

Divergence = Literal["kl", "bernoulli", "squared"]
OwnLoss = Callable[[Any, Any], Any]
"""The user's own: (answers, targets), torch tensors with the batch in front, to a scalar tensor."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Loss, divergence and metric of what a network is for; classification unless something else is known.

    Args:
        name: one of `TASKS`.
        metric: what quality is measured in.
        loss: its name in `OF_LOSS`; the user's function is `own_loss`.
        divergence: how far changed answers are from the original's, which is what damage means.
        axis: of the answers, batch first, that holds the classes.
        scale: variance of the numbers that are learnt, by which squared errors are divided.
        own_loss: the user's function, in the place of `loss`.
        probabilities: answers are those of a softmax or a sigmoid, not logits (`nets.ending`).
    """

    name: str = "classification"
    metric: Metric = ACCURACY
    loss: str = "cross_entropy"
    divergence: Divergence = "kl"
    axis: int = 1
    scale: float = 1.0
    own_loss: OwnLoss | None = field(default=None, compare=False, repr=False)
    probabilities: bool = False

    @property
    def of_classes(self) -> bool:
        """True where targets are class numbers."""
        return self.loss == "cross_entropy"

    @property
    def default(self) -> bool:
        """True for classification as it is without a word: what is stored of it names no task."""
        return self == CLASSIFICATION and self.own_loss is None

    @property
    def key(self) -> str:
        """What distinguishes damages and trained weights of one task from those of another on the same data."""
        loss = "own" if self.own_loss is not None else self.loss
        ending = " probabilities" if self.probabilities else ""
        return f"{self.name} {loss} {self.divergence} {self.axis}{ending}"

    def scored(self) -> Scored:
        """Takes answers and targets, and gives their score."""
        return Scored(self.metric, self.axis, self.threshold)

    @property
    def threshold(self) -> float:
        """The answer from which on a label is told."""
        return 0.5 if self.probabilities else 0.0

    def judged_by(self, name: str) -> Task:
        """The task with another of its metrics.

        Raises:
            BadInput: it has no such metric.
        """
        if name == self.metric.name:
            return self
        known = {m.name: m for m in METRICS_OF[self.name]}
        if name not in known:
            names = ", ".join([*known, *([self.metric.name] if self.metric.name not in known else [])])
            raise BadInput(
                f"metric {name!r} is none of {self.name}{did_you_mean(name, known)}; it is judged by one of {names}"
            )
        return replace(self, metric=replace(known[name], peak=self.metric.peak))


CLASSIFICATION = Task()

TASKS: Mapping[str, Task] = {
    "classification": CLASSIFICATION,
    "multi-label": Task("multi-label", F1, "bce", "bernoulli"),
    "regression": Task("regression", RMSE, "mse", "squared"),
    "segmentation": Task("segmentation", IOU),
    "tokens": Task("tokens", ACCURACY, axis=-1),
    "image": Task("image", PSNR, "mse", "squared"),
}
"""Tasks by the name that `--task` takes."""

METRICS_OF: Mapping[str, tuple[Metric, ...]] = {
    "classification": (ACCURACY,),
    "multi-label": (F1, ACCURACY),
    "regression": (RMSE, MAE, R2),
    "segmentation": (IOU, ACCURACY),
    "tokens": (ACCURACY,),
    "image": (PSNR, RMSE, MAE),
}
"""What each task may be judged by, the first unless another is asked for (`--maximize`, `--minimize`, `--min`)."""

_NUMBERS = ("regression", "image")
OF_LOSS: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("classification", "segmentation", "tokens"), "bce": ("multi-label",),
    "mse": _NUMBERS, "l1": _NUMBERS, "huber": _NUMBERS,
}  # fmt: skip
"""Losses by the name that `my_data.py` may give, and the tasks that each is for."""


def task_named(name: str) -> Task:
    """The task of a name.

    Raises:
        BadInput: there is none; proposes the closest.
    """
    if name not in TASKS:
        raise BadInput(f"--task {name!r} is unknown{did_you_mean(name, TASKS)}; known: {', '.join(TASKS)}")
    return TASKS[name]


def metric_named(name: str) -> Metric:
    """A metric by name, such as a stored run has it; one that is unknown is somebody's own, of which more is better."""
    return KNOWN.get(name, Metric(name, True, name))


@dataclass(frozen=True, slots=True)
class Seen:
    """What targets look like: their shape without the batch, whether they are whole numbers, and only 0 and 1.

    `one_hot` ones (n, k) have a single 1 in each row: the column is the class.
    """

    shape: Shape
    whole: bool
    binary: bool = False
    one_hot: bool = False


def seen(targets: NDArray[Any]) -> Seen:
    """What an array of targets (n, ...) looks like."""
    binary = bool(((targets == 0) | (targets == 1)).all())
    whole = targets.dtype.kind in "iub" or bool((targets == np.floor(targets)).all())
    several = binary and targets.ndim == 2 and targets.shape[1] > 1
    return Seen(tuple(targets.shape[1:]), whole, binary, several and bool((targets.sum(1) == 1).all()))


def seen_in(looks: Seen, answers: Shape, where: str, among: Collection[str] = ()) -> Task:
    """The task that targets are for, beside answers of this shape (without the batch); `where` names the data.

    Only those `among` these come into question, where some are named.

    Raises:
        BadInput: they fit no task, or more than one; says which flag decides.
    """
    found = [t for t in TASKS.values() if _fits(t, looks, answers) and (not among or t.name in among)]
    if len(found) == 1:
        return found[0]
    told = f"{where} has targets of shape {told_shape(looks.shape)} and the model answers {told_shape(answers)}"
    if found:
        names = " or ".join(f"--task {task.name}" for task in found)
        raise BadInput(f"{told}: that may be {' or '.join(t.name for t in found)}; give {names}")
    raise BadInput(
        f"{told}, which no task has; give targets of one class a row, one 0 or 1 for each output, or numbers of the "
        f"answers' shape, or say what they are with --task ({', '.join(TASKS)})"
    )


def told_shape(shape: Shape) -> str:
    """A shape with its batch axis: (n, 10)."""
    return f"({', '.join(('n', *map(str, shape)))}{',' if not shape else ''})"


def _fits(task: Task, looks: Seen, answers: Shape) -> bool:
    """Whether targets look like those of a task, for a network with such answers."""
    same, single = _same(looks.shape, answers), answers in ((), (1,))
    match task.name:
        case "classification":
            classes = looks.shape == () and looks.whole and len(answers) == 1 and not single
            return classes or (looks.one_hot and answers == looks.shape)
        case "multi-label":
            return same and looks.binary and not looks.one_hot
        case "regression":
            return same and len(answers) <= 1 and (single or not looks.binary)
        case "image":
            return same and len(answers) >= 2 and not looks.binary
        case "segmentation":
            return _positions(looks, answers, answers[1:], answers[:1])
        case _:
            return _positions(looks, answers, answers[:-1], answers[-1:])


def _positions(looks: Seen, answers: Shape, places: Shape, classes: Shape) -> bool:
    """Whether targets are a class for each of these places, of which the network has several."""
    return looks.whole and len(answers) >= 2 and places == looks.shape and classes > (1,)


def _same(targets: Shape, answers: Shape) -> bool:
    """Whether they are of one shape, but for an axis of one in front: (n,) and (n, 1), (n, H, W) and (n, 1, H, W)."""
    return targets == answers or answers == (1, *targets) or targets == (1, *answers)


def check_targets(task: Task, looks: Seen, answers: Shape, where: str) -> None:
    """Raises BadInput where targets are not what a task needs beside answers of this shape."""
    told = f"{where} has targets of shape {told_shape(looks.shape)}, the model answers {told_shape(answers)}"
    match task.name:
        case "classification":
            wanted = "one class number a row, and an output for each class"
            right = (looks.shape == () and looks.whole and len(answers) == 1) or looks.one_hot
        case "segmentation":
            wanted = "class numbers (n, H, W) for answers (n, classes, H, W)"
            right = _positions(looks, answers, answers[1:], answers[:1])
        case "tokens":
            wanted = "class numbers (n, T) for answers (n, T, classes)"
            right = _positions(looks, answers, answers[:-1], answers[-1:])
        case "multi-label":
            wanted, right = "0 or 1 for each output", _same(looks.shape, answers) and looks.binary
        case _:
            wanted, right = "a number for each output", _same(looks.shape, answers)
    if not right:
        raise BadInput(f"{told}; --task {task.name} wants {wanted}")
