"""What a data set is for, once the networks that are to be fitted to it are known: its task, targets and classes.

Classification is what data are taken for unless something else is told or seen; then nothing of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from chipfit.core.data import Dataset, Split, Targets
from chipfit.core.errors import BadInput
from chipfit.core.metric import IGNORED
from chipfit.core.task import (
    CLASSIFICATION,
    OF_LOSS,
    TASKS,
    Seen,
    Shape,
    Task,
    check_targets,
    seen,
    seen_in,
    task_named,
)
from chipfit.core.words import number_of, shown

NAMED_CLASSES = 256
"""Classes of positions that are given a number for a name, at most: a vocabulary has none."""

VOID = 255
"""What positions that do not count are often marked with."""

TAKEN_FOR_CLASSES = ("targets of type", "labels run from")
"""How notes begin that are of class numbers, which a task with other targets has none of."""

Changed = Callable[[Targets], Targets]


def meant(
    dataset: Dataset,
    answers: Mapping[str, Shape],
    told: str | None = None,
    judged: str | None = None,
    probabilities: Mapping[str, bool] = {},
) -> Dataset:
    """The data set with its task, its targets as the task's loss takes them, and a note where one was seen.

    Args:
        dataset: as it was loaded; its own task, where it has one, was told by its maker.
        answers: shape of the answer to one input, by network.
        told: name of the task (`--task`).
        judged: name of the metric that quality is to be measured in.
        probabilities: whether it answers with them, by network; logits where nothing is said.

    Raises:
        BadInput: networks whose answers differ, targets that do not fit, no such metric.
    """
    shape = _one_shape(answers)
    dataset = _in_one_column(dataset, shape, told)
    targets, given = dataset.train.targets, dataset.task
    looks = None if targets is None else seen(targets)
    if told is not None:
        task, note = task_named(told), ""
    elif given.name != CLASSIFICATION.name:
        task, note = given, ""
    else:
        task, note = _seen(looks, shape, given, f"data {dataset.name!r}")
    task = _with_own(task, given)
    if task.divergence != "squared":
        task = replace(task, probabilities=_one_ending(probabilities))
    task = task if judged is None else task.judged_by(judged)
    if looks is not None and (told is not None or not task.default):
        check_targets(task, looks, shape, f"data {dataset.name!r}")
    if task.name == CLASSIFICATION.name:
        dataset = replace(dataset, task=task)
        return _numbered(dataset) if looks is not None and looks.one_hot else _with_all_outputs(dataset, shape)
    return _prepared(dataset, task, shape, note)


def _seen(looks: Seen | None, answers: Shape, given: Task, where: str) -> tuple[Task, str]:
    """The task that nobody told, and a note that says so; classification needs none."""
    if looks is None:
        task = _seen_in_answers(answers)
        note = f"answers are held against each other as those of {task.name} (--task says otherwise)"
    else:
        task = seen_in(looks, answers, where, OF_LOSS[given.loss] if given.loss != CLASSIFICATION.loss else ())
        note = f"taken for {task.name}: targets and answers look like it (--task says otherwise)"
    return (task, "") if task.name == CLASSIFICATION.name else (task, note)


def _with_own(task: Task, given: Task) -> Task:
    """The task with the loss and the metric that the data brought along."""
    if given.loss != CLASSIFICATION.loss:
        task = replace(task, loss=given.loss)
    if given.metric.own is not None:
        task = replace(task, metric=given.metric)
    elif given.metric != CLASSIFICATION.metric:
        task = task.judged_by(given.metric.name)
    return replace(task, own_loss=given.own_loss)


def _one_shape(answers: Mapping[str, Shape]) -> Shape:
    """The shape that all networks answer in."""
    shapes = dict.fromkeys(answers.values())
    if len(shapes) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in answers.items())
        raise BadInput(f"the models answer in different shapes ({told}); give models for one task")
    return next(iter(shapes), (1, 1))


def _one_ending(probabilities: Mapping[str, bool]) -> bool:
    """Whether all networks answer with probabilities.

    Raises:
        BadInput: some do, and some do not.
    """
    found = set(probabilities.values())
    if len(found) > 1:
        of = {kind: ", ".join(name for name, p in probabilities.items() if p == kind) for kind in (True, False)}
        raise BadInput(
            f"of the models {of[True]} ends in a softmax or sigmoid, and {of[False]} in logits; give models of one kind"
        )
    return found == {True}


def _seen_in_answers(shape: Shape) -> Task:
    """What a network without targets to learn is for, which says how its answers are held against each other.

    One vector is taken for the logits of classes, one number for a number. Larger answers could be anything:
    how far they are off is then counted as of numbers.
    """
    if len(shape) == 1 and shape != (1,):
        return CLASSIFICATION
    return TASKS["regression"] if shape in ((), (1,)) else TASKS["image"]


def _prepared(dataset: Dataset, task: Task, answers: Shape, note: str) -> Dataset:
    """The data set of a task that is told or seen, its targets of the answers' shape and of the type that losses take.

    Raises:
        BadInput: a class number that the answers have no place for.
    """
    targets = dataset.train.targets
    kinds = answers[task.axis - 1 if task.axis > 0 else task.axis] if task.of_classes else 0

    def changed(found: Targets) -> Targets:
        return found.astype(np.int64) if task.of_classes else found.astype(np.float32).reshape(len(found), *answers)

    classes = _numbers(kinds) if 0 < kinds <= NAMED_CLASSES else ()
    made = _retargeted(replace(dataset, task=task, classes=classes), changed, note)
    if targets is None:
        return made
    if task.of_classes and int(targets.max()) >= kinds:
        most = int(targets.max())
        void = f", or {IGNORED} in the place of {most} where that says that a position does not count"
        raise BadInput(
            f"data {dataset.name!r} has the class number {most} and the model {number_of(kinds, 'class', 'classes')}; "
            f"give a model with an output for each class{void if most == VOID else ''}"
        )
    return replace(made, task=_scaled(task, made.train.targets))


def _numbered(dataset: Dataset) -> Dataset:
    """The data set with the column of the 1 of one-hot targets as the class, and a note of it.

    Raises:
        BadInput: a row of another part that is not one-hot.
    """

    def changed(found: Targets) -> Targets:
        return np.asarray(found.argmax(1), np.int64)

    for name, part in (("validation", dataset.validation), ("test", dataset.open_test())):
        _check_one_hot(f"data {dataset.name!r}: {name}", part.targets)
    assert dataset.train.targets is not None
    kinds = dataset.train.targets.shape[1]
    classes = dataset.classes if len(dataset.classes) == kinds else _numbers(kinds)
    note = "targets with a single 1 in each row are taken for classes (--task multi-label says otherwise)"
    return _retargeted(replace(dataset, classes=classes), changed, note)


def _numbers(n: int) -> tuple[str, ...]:
    """The names of classes that have none but their numbers."""
    return tuple(map(str, range(n)))


def _in_one_column(dataset: Dataset, answers: Shape, told: str | None) -> Dataset:
    """The data set with class numbers (n, 1) as (n,), beside a network that has several answers."""
    targets = dataset.train.targets
    if targets is None or targets.shape[1:] != (1,) or len(answers) != 1 or answers[0] < 2:
        return dataset
    if told not in (None, CLASSIFICATION.name) or not seen(targets).whole or targets.min() < 0:
        return dataset
    classes = dataset.classes or _numbers(int(targets.max()) + 1)
    return _retargeted(replace(dataset, classes=classes), lambda found: found[:, 0].astype(np.int64), "")


def _with_all_outputs(dataset: Dataset, answers: Shape) -> Dataset:
    """The data set with a class for each output, where its classes have numbers for names and some have no rows."""
    known = len(dataset.classes)
    if len(answers) != 1 or answers[0] <= known or dataset.classes != _numbers(known) or not known:
        return dataset
    note = f"labels run from 0 to {known - 1}, and the model has {answers[0]} outputs: the others stay without rows"
    return replace(dataset, classes=_numbers(answers[0]), notes=(*dataset.notes, note))


def _check_one_hot(where: str, targets: Targets | None) -> None:
    if targets is None or seen(targets).one_hot:
        return
    row = int(np.flatnonzero(((targets != 0) & (targets != 1)).any(1) | (targets.sum(1) != 1))[0])
    raise BadInput(
        f"{where} has the targets {shown(targets[row].tolist())} in row {row}, where those of train have a single 1; "
        "give one-hot rows in all parts, or --task multi-label"
    )


def _retargeted(dataset: Dataset, changed: Changed, note: str) -> Dataset:
    """The data set with the targets of every part changed, and a note in the place of those of class numbers."""
    test = dataset.open_test
    return replace(
        dataset, train=_with(dataset.train, changed), validation=_with(dataset.validation, changed),
        open_test=lambda: _with(test(), changed),
        notes=(*(n for n in dataset.notes if not n.startswith(TAKEN_FOR_CLASSES)), *([note] if note else [])),
    )  # fmt: skip


def _with(part: Split, changed: Changed) -> Split:
    return part if part.targets is None else Split(part.inputs, changed(part.targets))


def _scaled(task: Task, targets: Targets | None) -> Task:
    """The task with the variance and the range of the numbers that are learnt."""
    if targets is None or task.divergence != "squared":
        return task
    spread = float(((targets - targets.mean(0, dtype=np.float64)) ** 2).mean())
    least, most = float(targets.min()), float(targets.max())
    peak = 1.0 if least >= 0 and most <= 1 else most - least
    return replace(task, scale=spread or 1.0, metric=replace(task.metric, peak=peak or 1.0))
