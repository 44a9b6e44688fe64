"""The user's own data: a function that returns `dict(train=, validation=, test=)` of iterables of (inputs, targets).

Each iterable is walked once and kept as arrays, so what is random in it is drawn once. Items are batches, or single
rows where the target is one number or where a data set is walked by index. Targets may be None, or missing, in all
parts. Inputs are one array, or several: a tuple, or a dict by the names that the model takes. The dict may also hold

    loss      its name (cross_entropy, bce, mse, l1, huber), or a function (answers, targets) -> scalar tensor
    metric    (name, "max" or "min", function): function (answers, targets) -> a number for each row, or for all
    collate   a function from a list of items to a batch, as a DataLoader's
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core import user_code
from chipfit.core.data import Dataset, Inputs, Split, Targets
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.metric import KNOWN, Metric
from chipfit.core.ports import Ports
from chipfit.core.task import CLASSIFICATION, OF_LOSS, Task
from chipfit.core.types import METRICS
from chipfit.core.words import shown
from chipfit.data import several
from chipfit.data.batches import Batches
from chipfit.data.gather import gathered
from chipfit.data.options import Normalisation
from chipfit.data.split import PARTS, Part, complete
from chipfit.data.statistics import normalisation

_MEANING = ("loss", "metric", "collate")
"""What may stand beside the parts."""

MANY, MANY_SHARE = 50, 0.2
"""Different whole numbers among float targets, and their share of the rows, beyond which they are no classes."""


def load(spec: str, *, normalize: Normalisation | None = None, task: str | None = None) -> Dataset:
    """What `my_data.py:loaders` gives, its inputs uint8, float32 or numbers of tokens, with what it says of the task.

    `task` is its name where it was told.

    Raises:
        BadInput: no such function, its own error, or data of another form, with the part and the row.
    """
    found = user_code.call(spec, "loaders")
    if not isinstance(found, Mapping):
        raise BadInput(f"{spec} returned {_kind(found)}; return dict(train=, validation=, test=)")
    return of_parts(spec, found, normalize=normalize, task=task)


def of_parts(
    spec: str, found: Mapping[Any, Any], *, normalize: Normalisation | None = None, task: str | None = None
) -> Dataset:
    """The data set of a dict as `load` has it from a function; `spec` is what it is called.

    Raises:
        BadInput: data of another form, with the part and the row.
    """
    _check_keys(spec, found)
    own, collate = own_task(spec, found), _function(spec, "collate", found.get("collate"))
    numbers = task in OF_LOSS["mse"] or own.loss in ("mse", "l1", "huber")
    batches: dict[Part, Batches] = {
        p: Batches(f"{spec}: {p}", found[p], numbers=numbers, collate=collate) for p in PARTS if p in found
    }
    given = _alike({part: joined(one) for part, one in batches.items()})
    check_agreement(spec, given)
    ports = _ports(spec, batches, normalize)
    parts = complete(given)
    (mean, std), origin = normalisation(parts.train.inputs, normalize)
    classes, absent = _classes(parts.train.targets)
    whole = given["train"].targets is None or given["train"].targets.dtype == np.int64
    taken_for = sorted({note for one in batches.values() for note in one.notes if whole})
    walked = "each of your loaders was walked once and kept; its augmentation is drawn once"
    return Dataset(
        name=spec,
        classes=classes,
        mean=mean,
        std=std,
        train=parts.train,
        validation=parts.validation,
        open_test=lambda: parts.test,
        notes=(walked, *taken_for, *absent, *parts.notes, *origin),
        task=own,
        ports=ports,
    )


def _ports(spec: str, batches: Mapping[Part, Batches], normalize: Normalisation | None) -> Ports:
    """The inputs of all parts where they are several.

    Raises:
        BadInput: parts have other ones, or they were to be normalised.
    """
    ports = batches["train"].ports
    for part, other in batches.items():
        several.check_alike(f"{spec}: {part}", other.ports, ports)
    if ports and normalize is not None:
        raise BadInput(f"{spec}: --normalize is for one input; normalise the {len(ports)} inputs in there")
    return ports


def _check_keys(spec: str, found: Mapping[Any, Any]) -> None:
    known = (*PARTS, *_MEANING)
    for key in found:
        if key not in known:
            raise BadInput(f"{spec}: key {key!r} is unknown{did_you_mean(str(key), known)}; known: {', '.join(known)}")
    if "train" not in found:
        raise BadInput(f"{spec}: 'train' is missing; return dict(train=, validation=, test=)")


def own_task(spec: str, found: Mapping[Any, Any]) -> Task:
    """What the dict says of the task: the loss and the metric; the rest is told elsewhere, or seen.

    Raises:
        BadInput: a loss or metric of another form.
    """
    task, loss, metric = CLASSIFICATION, found.get("loss"), found.get("metric")
    if isinstance(loss, str):
        if loss not in OF_LOSS:
            known = ", ".join(OF_LOSS)
            raise BadInput(
                f"{spec}: loss {loss!r} is not known{did_you_mean(loss, OF_LOSS)}; give {known}, or a function"
            )
        task = replace(task, loss=loss)
    elif loss is not None:
        task = replace(task, own_loss=_function(spec, "loss", loss))
    if isinstance(metric, str):
        if metric not in KNOWN:
            raise BadInput(
                f"{spec}: metric {metric!r} is not known{did_you_mean(metric, KNOWN)}; give {', '.join(KNOWN)}, or "
                f"(name, 'max' or 'min', function)"
            )
        return replace(task, metric=KNOWN[metric])
    return task if metric is None else replace(task, metric=_own_metric(spec, metric))


def _own_metric(spec: str, given: object) -> Metric:
    """The metric of (name, direction, function), or of (name, direction) where chipfit has one of this name."""
    form = f"{spec}: metric {shown(given)} is no (name, 'max' or 'min', function)"
    if not isinstance(given, tuple | list) or len(given) not in (2, 3) or not isinstance(given[0], str):
        raise BadInput(f"{form}; give one like ('f2', 'max', my_f2)")
    name, direction = given[0], given[1]
    if direction not in ("max", "min") or not name.isidentifier():
        raise BadInput(f"{form}; the name is a word, and the direction 'max' or 'min'")
    if len(given) == 2:
        if name not in KNOWN or KNOWN[name].larger != (direction == "max"):
            raise BadInput(f"{form}; without a function it is one of {', '.join(KNOWN)}")
        return KNOWN[name]
    if name in METRICS:
        raise BadInput(f"{spec}: metric {name!r} is the name of one that chipfit has; give yours another")
    return Metric(name, direction == "max", f"{name}, of {spec}", own=_function(spec, "metric", given[2]))


def _function(spec: str, what: str, given: object) -> Callable[..., Any] | None:
    if given is not None and not callable(given):
        raise BadInput(f"{spec}: {what} is {_kind(given)}; give a function")
    return given


def _alike(given: dict[Part, Split]) -> dict[Part, Split]:
    """The parts with targets of one type: where some have real numbers, whole ones of others are numbers too."""
    if not any(s.targets is not None and s.targets.dtype == np.float32 for s in given.values()):
        return given
    return {
        part: Split(s.inputs, None if s.targets is None else s.targets.astype(np.float32)) for part, s in given.items()
    }


def joined(batches: Batches) -> Split:
    """All rows of a part; in a file where they are many."""
    targets: list[Targets] = []

    def inputs() -> Iterator[Inputs]:
        for x, y in batches:
            if y is not None:
                targets.append(y)
            yield x

    rows = gathered(inputs())
    return Split(rows, _one_kind(targets, batches.notes) if targets else None)


def _one_kind(parts: list[Targets], notes: set[str]) -> Targets:
    """The targets of all batches: class numbers, or numbers where a batch has others or they are too many for classes.

    `notes` that floats were taken for class numbers are taken back where they were not.
    """
    if all(part.dtype == np.int64 for part in parts):
        labels = cast(NDArray[np.int64], np.concatenate(parts))
        if not notes or not _too_many(labels):
            return labels
    notes.clear()
    return np.concatenate([part.astype(np.float32) for part in parts])


def _too_many(labels: Targets) -> bool:
    different = len(np.unique(labels))
    return different > max(MANY, MANY_SHARE * len(labels))


def _classes(labels: Targets | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A name for each class number up to the largest, and a note where many of them do not occur."""
    if labels is None or labels.ndim > 1 or labels.dtype != np.int64:
        return (), ()
    most, there = int(labels.max()) + 1, len(np.unique(labels))
    absent = f"labels run from 0 to {most - 1}, and {there} of these {most} classes occur in train"
    return tuple(map(str, range(most))), (absent,) if there < most else ()


def check_agreement(spec: str, given: Mapping[Part, Split]) -> None:
    """Raises BadInput where a part has other inputs than train, labels that train has not, or none."""
    train = given["train"]
    for part, split in given.items():
        if split.inputs.shape[1:] != train.inputs.shape[1:] or split.inputs.dtype != train.inputs.dtype:
            mine, other = (f"{s.inputs.dtype} {s.inputs.shape[1:]}" for s in (train, split))
            raise BadInput(f"{spec}: inputs are {mine} in train and {other} in {part}; give all one shape and type")
        if (split.targets is None) != (train.targets is None):
            without = part if split.targets is None else "train"
            raise BadInput(f"{spec}: {without} has no targets, other parts have; give them in all or in none")
        if split.targets is not None and train.targets is not None:
            if split.targets.shape[1:] != train.targets.shape[1:]:
                forms = [s.shape[1:] for s in (train.targets, split.targets)]
                raise BadInput(f"{spec}: targets are {forms[0]} in train and {forms[1]} in {part}; give all one shape")
            if train.targets.ndim > 1 or train.targets.dtype != np.int64:
                continue
            most, value = int(train.targets.max()), int(split.targets.max())
            if value > most:
                raise BadInput(f"{spec}: label {value} in {part} is outside 0..{most}, the labels of train")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
