"""Names become objects, once: networks, data and device, in the order in which an error is cheapest to find."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from chipfit.api.config import Config
from chipfit.api.places import predictor_file, predictors
from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput, Note, did_you_mean
from chipfit.core.ports import Ends, width
from chipfit.core.protocols import Device
from chipfit.core.types import Artifact
from chipfit.data.given import checked
from chipfit.data.load import load_data
from chipfit.data.meant import meant
from chipfit.data.options import parse_normalize, parse_resize
from chipfit.data.own import of_parts
from chipfit.data.statistics import COMPUTED
from chipfit.device.accelerator.port import Designing, designing
from chipfit.device.cache import usable_folder
from chipfit.device.registry import DEVICES, open_device
from chipfit.evaluate.latency.device import PREFIX, PredictedDevice
from chipfit.evaluate.latency.predict import FittedPredictor, read_predictor
from chipfit.evaluate.onnx_file import read
from chipfit.export.formats import timing_bytes
from chipfit.nets.ending import ends_in_probabilities
from chipfit.nets.load import Entry, entry_of, load_models
from chipfit.nets.onnx.byte_inputs import bytes_taken
from chipfit.store.arrays import ArrayFolder
from chipfit.store.programs import FILE as PROGRAMS
from chipfit.store.programs import ProgramLibrary
from chipfit.store.user_memory import UserMemory

DataLike = str | Path | Dataset | Mapping[str, Any]
"""Data as a Python user gives them: a name or path, a data set, or dict(train=, validation=, test=) of loaders."""

ModelLike = str | Path | nn.Module | Entry
"""A model as a Python user gives it: a spec like those of the command line, a module, or an entry."""

OBJECT, HANDED = "object:", "data"
"""How a configuration names what was handed over as a Python object, and what a dict of loaders is called."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run works on, and hashes by which a later session knows it again."""

    entries: tuple[Entry, ...]
    dataset: Dataset
    predictors: tuple[FittedPredictor, ...] = ()

    @property
    def mark(self) -> str:
        """Six digits that tell these inputs from others."""
        return hashlib.sha256(repr(sorted(self.digests().items())).encode()).hexdigest()[:6]

    def digests(self) -> dict[str, str]:
        """Name to hash of the data, of each network and of each predictor."""
        return {
            f"data {self.dataset.name}": self.dataset.digest(),
            **{f"model {e.name}": e.network.digest() for e in self.entries},
            **{f"device {PREFIX}{p.name}": p.digest for p in self.predictors},
        }


@dataclass(frozen=True, slots=True)
class Given:
    """What a Python caller hands over as objects, in the place of names."""

    models: tuple[ModelLike, ...] = ()
    data: Dataset | Mapping[str, Any] | None = None

    @classmethod
    def of(cls, model: ModelLike | Sequence[ModelLike], data: DataLike | None = None) -> Given:
        """The arguments of a public function; a text without objects around it needs no `Given`, but does no harm."""
        models: tuple[ModelLike, ...]
        if isinstance(model, ModelLike) or not isinstance(model, Iterable) or isinstance(model, bytes | Mapping | type):
            models = (cast(ModelLike, model),)
        else:
            models = tuple(model)
        for m in models:
            if not isinstance(m, ModelLike):
                raise BadInput(f"a model is {type(m).__name__}; give a torch module{_instead(m)}")
        return cls(models, data if isinstance(data, Dataset | Mapping) else None)

    @property
    def names(self) -> tuple[str, ...]:
        """The models as a configuration names them; a module is named by its class and its place."""
        return tuple(_name(m, n) for n, m in enumerate(self.models, 1))


def _instead(given: object) -> str:
    """What to give in the place of a class; what else could be given."""
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f", such as {given.__name__}()"
    return ", or a name like zoo:fashion-mnist"


def _name(model: ModelLike, place: int) -> str:
    match model:
        case nn.Module():
            return f"{OBJECT}{type(model).__name__}-{place}"
        case Entry():
            return f"{OBJECT}{model.name}"
        case _:
            return str(model)


def data_name(data: DataLike | None) -> str | None:
    """The data as a configuration names it.

    Raises:
        BadInput: no name, path or data set.
    """
    if data is None or isinstance(data, str | Path):
        return None if data is None else str(data)
    if isinstance(data, Mapping):
        return f"{OBJECT}{HANDED}"
    if not isinstance(data, Dataset):
        raise BadInput(
            f"data is a {type(data).__name__}; give a name, a path, dict(train=, validation=, test=) of loaders or "
            f"arrays, or a chipfit.Dataset"
        )
    return f"{OBJECT}{data.name}"


def load(config: Config, given: Given) -> Inputs:
    """The data, then the networks.

    Raises:
        BadInput: one of them cannot be used; they do not fit each other; a layer to keep does not exist.
    """
    dataset = _as_bytes(_dataset(config, given), config)
    if config.train and not dataset.labelled:
        raise BadInput(f"data {dataset.name!r} has no labels to train with; give labelled data, or --no-train")
    if config.floor is not None and not dataset.labelled:
        said = f"--min {config.min[0]}" if config.min else f"the limit on {config.floor.metric}"
        raise BadInput(f"data {dataset.name!r} has no labels, so {said} cannot be checked; drop it")
    entries = load_entries(config, given, dataset)
    check_kept(config.kept, entries)
    dataset = replace(dataset, notes=(*dataset.notes, *_notes(entries)))
    shapes = {e.name: answers_of(e) for e in entries}
    likely = {e.name: ends_in_probabilities(e.network.graph) for e in entries}
    dataset = meant(dataset, shapes, config.task, config.judged, likely)
    _check_direction(config, dataset)
    predicted = [d.removeprefix(PREFIX) for d in config.devices if d.startswith(PREFIX)]
    return Inputs(entries, dataset, tuple(load_predictor(name) for name in predicted))


def answers_of(entry: Entry) -> tuple[int, ...]:
    """Shape of a network's answer to one input."""
    graph = entry.network.graph
    return graph[graph.output].shape


def _check_direction(config: Config, dataset: Dataset) -> None:
    """Raises BadInput where a limit on the task's metric is on its wrong side."""
    metric, floor = dataset.task.metric, config.floor
    if floor is None or floor.at_least == metric.larger:
        return
    right = f"--{'min' if metric.larger else 'max'} {metric.name}={floor.value:g}"
    raise BadInput(f"of {metric.name} {'more' if metric.larger else 'less'} is better; write {right}")


def _dataset(config: Config, given: Given) -> Dataset:
    if isinstance(given.data, Dataset):
        return checked(given.data)
    normalize = parse_normalize(config.normalize) if config.normalize is not None else None
    if given.data is not None:
        return of_parts(HANDED, given.data, normalize=normalize, task=config.task)
    if config.data is None:
        raise BadInput(
            "no data was named; give --data: fashion-mnist, digits, a folder or zip of class folders, or FILE.py:NAME"
        )
    if config.data.startswith(OBJECT):
        raise _lost(config.data)
    return load_data(
        config.data,
        resize=parse_resize(config.resize) if config.resize is not None else None,
        normalize=normalize,
        task=config.task,
    )


def _as_bytes(dataset: Dataset, config: Config) -> Dataset:
    """The data with pixels as they are, where nobody said how they are normalised and every model takes bytes."""
    notes = [n for n in dataset.notes if not n.startswith(COMPUTED)]
    if len(notes) == len(dataset.notes):
        return dataset
    spans = {bytes_taken(Path(m)) if m in config.files else None for m in config.models}
    if len(spans) != 1 or (span := spans.pop()) is None:
        return dataset
    channels, (least, largest) = len(dataset.mean), span
    return replace(
        dataset, mean=(-least / 255,) * channels, std=(1 / 255,) * channels,
        notes=(*notes, f"pixels are given as {least}..{largest}, as the model takes bytes"),
    )  # fmt: skip


def load_entries(config: Config, given: Given, dataset: Dataset | None) -> tuple[Entry, ...]:
    """The networks; the shape of their inputs comes from the configuration or else from the data."""
    if not config.models:
        raise BadInput("no model was named; give zoo:fashion-mnist, or my_model.py:build with --weights")
    shape = config.input_shape or (dataset.input_shape if dataset is not None else None)
    objects = dict(zip(given.names, given.models, strict=True))
    made: list[Entry] = []
    named = [m for m in config.models if not isinstance(objects.get(m), nn.Module | Entry)]
    if lost := next((m for m in named if m.startswith(OBJECT)), None):
        raise _lost(lost)
    if config.weights and not named:
        raise BadInput("--weights are for models named FILE.py:FUNCTION; load them into the module before it is given")
    if named:
        files = tuple(Path(w).expanduser() for w in config.weights)
        made += load_models(named, weights=files, input_shape=config.input_shape, dataset=dataset, ends=config.ends)
    for name, model in objects.items():
        if isinstance(model, Entry):
            made.append(model)
        elif isinstance(model, nn.Module):
            made.append(_traced(name.removeprefix(OBJECT), model, shape, dataset, config.ends))
    _say(made)
    return tuple(made)


def _say(entries: Iterable[Entry]) -> None:
    for note in _notes(entries):
        warnings.warn(Note(note), stacklevel=3)


def _notes(entries: Iterable[Entry]) -> tuple[str, ...]:
    """How networks were read, where that left a choice."""
    return tuple(f"{e.name}: {note}" for e in entries for note in e.notes)


def load_all(config: Config, given: Given) -> tuple[tuple[Entry, ...], dict[str, Artifact]]:
    """The networks, and the ONNX files by their paths as they are: for what takes both.

    Raises:
        BadInput: one of them cannot be used.
    """
    files = {path: read(path, config.input_shape) for path in config.files}
    networks = tuple(m for m in config.models if m not in files)
    if files and not networks and (config.weights or config.kept):
        raise BadInput("ONNX files hold their weights and keep their layers; leave --weights and --keep out")
    entries = load_entries(config.changed(models=networks), given, None) if networks or not files else ()
    check_kept(config.kept, entries)
    return entries, files


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models of a configuration: networks, ONNX files read as networks, and those that stay files, by path.

    `why` says of each of the last why it cannot be edited.
    """

    entries: tuple[Entry, ...]
    read: dict[str, Entry]
    files: dict[str, Artifact]
    why: dict[str, str]


def load_editable(config: Config, given: Given) -> Loaded:
    """The models, ONNX files as networks wherever they can be.

    Raises:
        BadInput: one of them cannot be used.
    """
    networks, why = dict[str, Entry](), dict[str, str]()
    for path in config.files:
        try:
            (networks[path],) = load_models([path], input_shape=config.input_shape, ends=config.ends)
        except BadInput as e:
            if config.ends.ports:  # of a file as it is these cannot be said
                raise
            why[path] = str(e)
    _say(networks.values())
    left = config.changed(models=tuple(m for m in config.models if m not in networks), keep=(), exclude=())
    entries, files = load_all(left, given) if left.models else ((), {})
    if files and not entries and not networks and config.kept:
        raise BadInput("ONNX files that cannot be edited keep their layers; leave --weights and --keep out")
    check_kept(config.kept, (*entries, *networks.values()))
    return Loaded(entries, networks, files, why)


def _traced(name: str, module: nn.Module, shape: tuple[int, ...] | None, dataset: Dataset | None, ends: Ends) -> Entry:
    shape = (width(ends.ports),) if ends.ports else shape
    if shape is None:
        raise BadInput(f"the input shape of {name} is not known; give input_shape=(C, H, W), or data")
    return entry_of(name, name, module, shape, dataset, ends=ends)


def _lost(name: str) -> BadInput:
    what = name.removeprefix(OBJECT)
    return BadInput(f"{what!r} was given as a Python object; call chipfit.fit with it again and the same out= to go on")


def check_kept(kept: Sequence[str], entries: Sequence[Entry]) -> None:
    """Raises BadInput where a layer to keep does not exist."""
    layers = [o.name for e in entries for o in e.network.graph.ops[1:]]
    for name in kept:
        if not any(layer == name or layer.startswith(f"{name}.") for layer in layers):
            some = ", ".join(list(dict.fromkeys(o.name for e in entries for o in e.network.graph if o.weights))[:6])
            raise BadInput(f"--keep {name}: no layer has this name{did_you_mean(name, layers)}; some are: {some}")


@contextmanager
def opened(name: str) -> Iterator[Device]:
    """The device of a name, closed at the end.

    Raises:
        BadInput: an unknown name; proposes the closest.
    """
    with closing(_predicted(name) if name.startswith(PREFIX) else open_device(name, timing_bytes)) as device:
        yield device


def _predicted(name: str) -> Device:
    """The device that a predictor stands for; its files run on the first device of their format that is here."""
    predictor = load_predictor(name.removeprefix(PREFIX))
    here = [n for n, kind in DEVICES.items() if kind.format == predictor.format and n != "null" and not kind.missing]
    if not here:
        raise BadInput(f"device {name!r} takes {predictor.format}, which nothing here runs; see chipfit devices")
    return PredictedDevice(predictor, lambda: open_device(here[0], timing_bytes))


def load_predictor(name: str) -> FittedPredictor:
    """The predictor of a name or in a file.

    Raises:
        BadInput: there is none; proposes the closest.
    """
    place = predictor_file(name)
    if not place.is_file():
        known = predictors()
        what = f"{', '.join(known) or 'none'}; make it with chipfit predict fit --name {name}"
        raise BadInput(f"no predictor {name!r} is kept here{did_you_mean(name, known)}; there are: {what}")
    return read_predictor(place)


@contextmanager
def opened_accelerator(config: Config) -> Iterator[Designing]:
    """The one accelerator of a configuration, closed at the end.

    Raises:
        BadInput: its device is another, or several.
    """
    with opened_all(config.devices) as devices:
        device = designing(devices[0]) if len(devices) == 1 else None
        if device is None:
            raise BadInput(
                f"{config.models[0]} has no weights, so that it can only be checked on {config.device} (chipfit check);"
                " give --device accel:zcu102 for what edits and hardware cost"
            )
        yield device


@contextmanager
def opened_all(names: Sequence[str]) -> Iterator[list[Device]]:
    """The devices of some names, closed at the end.

    Raises:
        BadInput: an unknown name; proposes the closest.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(opened(name)) for name in names]


def user_profiles() -> ArrayFolder:
    """The user's own profiles of networks."""
    return ArrayFolder(usable_folder() / "profiles", most_bytes=1e9, forgiving=True)


def user_programs() -> ProgramLibrary:
    """The user's own library of operator programs."""
    return ProgramLibrary(usable_folder() / PROGRAMS)


@contextmanager
def user_memory() -> Iterator[UserMemory]:
    """The user's own table of measurements."""
    with closing(UserMemory(usable_folder() / "measurements.db")) as memory:
        yield memory
