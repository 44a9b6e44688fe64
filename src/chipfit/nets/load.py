"""The networks a user names: entries of the zoo, modules that a function of theirs or a library builds, programs.

Several networks that solve one task are a hot-start zoo: the best starting point is found among them.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from chipfit.core import user_code
from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.core.ports import ONE, Ends, width
from chipfit.core.supervised import supervised
from chipfit.core.words import number_of
from chipfit.nets import hub, zoo
from chipfit.nets.answers import ROWS, Floats, undisturbed
from chipfit.nets.checkpoint import load_into
from chipfit.nets.faithful import traced
from chipfit.nets.hub import LIBRARIES
from chipfit.nets.onnx import read as onnx_file
from chipfit.nets.presented import Presented
from chipfit.nets.pt2 import load_program
from chipfit.nets.published import PUBLISHED as NETWORKS
from chipfit.nets.published import published
from chipfit.nets.reading import as_one, told
from chipfit.nets.received import check_weights, lazy, received
from chipfit.nets.weights_file import KINDS, read_state
from chipfit.nets.zoo import Entry

__all__ = ["Entry", "entry_of", "load_models"]

_NOW = (
    "zoo:fashion-mnist, FILE.py:FUNCTION (e.g. my_model.py:build with --weights my_model.safetensors), timm:NAME, "
    "torchvision:NAME, hf:NAME_OR_FOLDER, FILE.onnx and FILE.pt2 work"
)


def load_models(
    specs: Sequence[str],
    *,
    weights: Sequence[Path] = (),
    input_shape: tuple[int, ...] | None = None,
    dataset: Dataset | None = None,
    ends: Ends = ONE,
) -> list[Entry]:
    """The networks that `specs` name, traced, in order.

    A spec is `zoo:DATASET` (all entries), `zoo:DATASET/NAME`, `FILE.py:FUNCTION`, a function that returns a module,
    `timm:NAME`, `torchvision:NAME`, `hf:NAME_OR_FOLDER`, `FILE.onnx`, or `FILE.pt2`, an exported program. `weights`
    holds one file for each function and each network of a library, or none at all where they have their own.
    `input_shape` is (C, H, W) or (features,); without it the inputs of `dataset` are taken. `ends` says what modules
    take and give where that is several values.

    Raises:
        BadInput: a spec, file or shape that does not fit; one line says what would.
    """
    if not specs:
        raise BadInput(f"no model was named; {_NOW}")
    own = sum(user_code.names_code(s) or s.startswith(tuple(LIBRARIES)) for s in specs)
    if weights and len(weights) != own:
        raise BadInput(
            f"--weights names {number_of(len(weights), 'file')} for {number_of(own, 'model')} of yours; give one "
            f"for each, in order (entries of the zoo bring their own)"
        )
    files = iter(weights)
    input_shape = (width(ends.ports),) if ends.ports else input_shape
    entries: list[Entry] = []
    for spec in specs:
        if spec.startswith("zoo:"):
            entries += [zoo.load_zoo(f"{r.dataset}/{r.name}") for r in zoo.find(spec.removeprefix("zoo:"))]
        elif spec.startswith(PUBLISHED):
            entries.append(without_weights(spec, input_shape))
        elif spec.startswith(tuple(LIBRARIES)):
            entries.append(_of_library(spec, next(files, None), input_shape, dataset, ends))
        elif user_code.names_code(spec):
            entries.append(_own(spec, next(files, None), input_shape, dataset, ends))
        elif Path(spec).suffix == ".onnx":
            entries.append(_of_onnx(spec, input_shape, dataset, ends))
        elif Path(spec).suffix == ".pt2":
            program, shape = load_program(Path(spec).expanduser()), _shape(spec, input_shape, dataset)
            entries.append(entry_of(Path(spec).stem, spec, program, shape, dataset, ends=ends))
        else:
            raise _unsupported(spec)
    for entry in entries:
        _check_against(entry, input_shape, dataset)
    return _distinct(entries)


PUBLISHED = "published:"
"""How the names of published networks begin, which are known without their weights."""
PICTURE = 224
"""Side of the pictures that they are for."""


def without_weights(spec: str, input_shape: tuple[int, ...] | None = None) -> Entry:
    """A published network, of which costs alone can be told.

    Raises:
        BadInput: an unknown name, or inputs that are no square RGB pictures.
    """
    shape = input_shape or (3, PICTURE, PICTURE)
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise BadInput(f"{spec} takes square RGB pictures, not {told(shape)}; give --input-shape 3,224,224")
    name = spec.removeprefix(PUBLISHED)
    return Entry(name, Network(published(name, shape[1]), {}), "none: the structure alone", spec)


def _own(
    spec: str, weights: Path | None, input_shape: tuple[int, ...] | None, dataset: Dataset | None, ends: Ends
) -> Entry:
    folder = user_code.folder_of(spec)
    assert folder is not None
    found = user_code.call(spec, "build")
    with user_code.importable(folder), supervised(f"{spec}: the module", folder):
        module = received(spec, found)
    shape = _shape(spec, input_shape, dataset)
    file, _, function = spec.rpartition(":")
    with user_code.importable(folder):
        source = spec
        if weights is not None:
            with supervised(f"{spec}: loading weights", folder, times=TRACING):
                source = f"{spec} with {_loaded(spec, module, weights, shape)}"
        return entry_of(f"{Path(file).stem}-{function}", spec, module, shape, dataset, source=source, ends=ends)


def _shape(spec: str, input_shape: tuple[int, ...] | None, dataset: Dataset | None) -> tuple[int, ...]:
    """The shape of one input.

    Raises:
        BadInput: nobody says it.
    """
    shape = input_shape or (dataset.input_shape if dataset else None)
    if shape is None:
        raise BadInput(f"the input shape of {spec} is not known; give --input-shape C,H,W, or --data")
    return shape


def _of_library(
    spec: str, weights: Path | None, input_shape: tuple[int, ...] | None, dataset: Dataset | None, ends: Ends
) -> Entry:
    """A network of a model library, with the library's own weights or those of a file."""
    given = input_shape or (dataset.input_shape if dataset is not None else None)
    classes = len(dataset.classes) if dataset is not None and dataset.classes else None
    with supervised(f"{spec}: the library", times=TRACING):
        module = hub.build(spec, weights is None, classes, given)
        shape = given or hub.usual_shape(module) or _shape(spec, None, None)
    source = spec
    if weights is not None:
        source = f"{spec} with {_loaded(spec, module, weights, shape)}"
    name = Path(spec.partition(":")[2]).name.replace("/", "-")
    return entry_of(name, spec, module, shape, dataset, source=source, ends=ends)


def _of_onnx(spec: str, input_shape: tuple[int, ...] | None, dataset: Dataset | None, ends: Ends) -> Entry:
    """The network of an ONNX file, held against the file in ONNX Runtime."""
    path = Path(spec).expanduser()
    wanted = input_shape or (dataset.input_shape if dataset is not None else None)
    ports = ends.ports or (dataset.ports if dataset is not None else ())
    file = onnx_file.load(path, wanted, ends.output, ports)
    entry = entry_of(path.stem, spec, file.presented, file.shape, dataset, whole=file.whole)
    assert entry.answers is not None
    answers = file.held(entry.answers)
    return replace(entry, answers=answers, notes=(*entry.notes, *file.said(answers)))


TRACING = 10.0
"""Times the seconds of one forward that may go by while a module is traced, which calls it several times."""


def _loaded(spec: str, module: nn.Module, weights: Path, shape: tuple[int, ...]) -> str:
    """Fills the module from a file; the file's name, and what was converted."""
    module.cpu().float().eval()  # first, or wide floats would be cut to a half-precision module's
    if lazy(module):
        with torch.no_grad(), supervised(f"{spec}: forward", user_code.folder_of(spec)):
            module(torch.zeros(1, *shape))
    converted = load_into(module, weights)
    return f"{weights.name} ({converted})" if converted else weights.name


def entry_of(
    name: str,
    spec: str,
    module: nn.Module,
    shape: tuple[int, ...],
    dataset: Dataset | None = None,
    *,
    source: str = "",
    whole: bool | None = None,
    ends: Ends = ONE,
) -> Entry:
    """The network of a module, in evaluation and float32 on the CPU, held against it; the module is left as it was.

    Args:
        name: of the entry.
        spec: what messages call the module.
        module: the user's own.
        shape: of one input.
        dataset: whose inputs the network is held against too, where they have this shape.
        source: where it comes from; `spec` where nothing is said.
        whole: it takes whole numbers, as tokens are; None where that is to be found out.
        ends: what it takes and gives, where that is several values; what the data have where it says nothing.

    Raises:
        BadInput: the module has no sound weights, takes no such inputs, answers with no logits, or is traced wrongly.
    """
    folder = user_code.folder_of(spec)
    # not only forward is theirs, or a library's: so may be `named_parameters`, `eval` and whatever else is called
    with supervised(f"{spec}: the module", folder, times=TRACING):
        module = received(spec, module)
        check_weights(spec, module)
        module = _as_float(module)
        if dataset is not None and not ends.ports and not isinstance(module, Presented):
            ends = replace(ends, ports=dataset.ports)
        with undisturbed(module):
            read = as_one(spec, module, shape, ends, guess=dataset is None, counts=whole)
    with supervised(f"{spec}: forward", folder, times=TRACING, all_theirs=False):
        real = _inputs_of(dataset, read.shape)
        network, answers = traced(spec, read.module, read.shape, real, integer=read.counts)
    if not any(o.kind in ("conv", "linear") for o in network.graph):
        raise BadInput(f"{spec} has no convolution and no dense layer; there is nothing in it to fit")
    return Entry(name, network, "unknown", source or spec, answers, notes=read.notes)


def _as_float(module: nn.Module) -> nn.Module:
    """The module itself where all it holds is float32 on the CPU, else a copy that is."""
    held = [*module.parameters(), *module.buffers()]
    if all(t.device.type == "cpu" and (t.dtype == torch.float32 or not t.is_floating_point()) for t in held):
        return module
    return copy.deepcopy(module).cpu().float()


def _inputs_of(dataset: Dataset | None, shape: tuple[int, ...]) -> Floats | None:
    """Some of the data's inputs as networks see them; None where they are of another shape."""
    if dataset is None or dataset.input_shape != shape:
        return None
    return dataset.normalise(dataset.calibration(ROWS).inputs)


def _check_against(entry: Entry, shape: tuple[int, ...] | None, dataset: Dataset | None) -> None:
    """The inputs have the shape that the network takes, and no more classes than it has outputs."""
    graph = entry.network.graph
    wanted = {"--input-shape": shape, "the data": dataset.input_shape if dataset else None}
    for who, given in wanted.items():
        if given is not None and given != graph.input_shape:
            raise BadInput(
                f"{entry.source} takes inputs of shape {told(graph.input_shape)}, {who} {told(given)}; "
                f"give the data that the model was trained on, or --resize"
            )
    outputs = graph[graph.output].size
    if dataset is not None and outputs > 1 and len(dataset.classes) > outputs:
        labels = dataset.train.targets
        from_one = labels is not None and len(dataset.classes) == outputs + 1 and labels.min() == 1
        mend = "let its labels begin at 0, not 1" if from_one else "give a model with an output for each class"
        raise BadInput(
            f"{entry.source} has {outputs} outputs and the data {dataset.name!r} {len(dataset.classes)} classes; {mend}"
        )


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, their names made unique: a second "lenet5" is "lenet5-2"."""
    seen: Counter[str] = Counter()
    named = []
    for e in entries:
        seen[e.name] += 1
        named.append(replace(e, name=f"{e.name}-{seen[e.name]}") if seen[e.name] > 1 else e)
    return named


def _unsupported(spec: str) -> BadInput:
    if spec in {PUBLISHED.rstrip(":"), *NETWORKS}:
        name = spec if spec in NETWORKS else "NAME"
        return BadInput(
            f"model {spec!r} is not known; write {PUBLISHED}{name} for what a published network would cost on an"
            f" accelerator; {_NOW}"
        )
    if Path(spec).suffix.lower() in KINDS:
        return _of_weights(spec)
    return BadInput(f"model {spec!r} is not known; {_NOW}")


def _of_weights(spec: str) -> BadInput:
    """What to do with a file of weights that was given as a model; or what it is instead, where it is none."""
    path = Path(spec).expanduser()
    try:
        _ = read_state(path) if path.is_file() else {}
    except BadInput as e:
        return BadInput(f"model {spec!r} is no network that can be read: {e}; its network comes from FILE.py:FUNCTION")
    return BadInput(f"model {spec!r} holds weights, not the network; give FILE.py:FUNCTION with --weights {spec}")
