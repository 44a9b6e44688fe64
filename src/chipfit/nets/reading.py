"""How a user's module is read: what it takes and gives, and as which one tensor and one answer all else sees it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chipfit.core import user_code
from chipfit.core.errors import BadInput
from chipfit.core.ports import Ends
from chipfit.core.supervised import supervised
from chipfit.nets.answers import only_tensor
from chipfit.nets.presented import Presented, alike, inner, required, with_output, with_ports


@dataclass(frozen=True, slots=True)
class Read:
    """A module as one of one tensor and one answer: what it takes, and what to say of how it was read.

    `counts` where its single input holds whole numbers.
    """

    module: nn.Module
    shape: tuple[int, ...]
    counts: bool
    notes: tuple[str, ...] = ()


def as_one(
    spec: str, module: nn.Module, shape: tuple[int, ...], ends: Ends, guess: bool = False, counts: bool | None = None
) -> Read:
    """The module as one of one tensor and one answer, once it has answered as such.

    Args:
        spec: what messages call the module.
        module: in evaluation.
        shape: of one input; of the row of all of them where `ends` has several.
        ends: the inputs that it gets, and which of its values it is for.
        guess: where it needs several inputs and one shape is all that is known, each of them is of it.
        counts: its single input holds whole numbers; None where that is to be found out.

    Raises:
        BadInput: it takes no such inputs, or answers with no value that it could be fitted to.
    """
    ports, notes = ends.ports, []
    if not ports and len(names := required(module)) > 1:
        if not guess:
            raise BadInput(f"{spec} needs {len(names)} inputs ({', '.join(names)}), the data have one; {SEVERAL}")
        ports, shape = alike(module, shape), (len(names) * math.prod(shape),)
        notes.append(f"each of its inputs {', '.join(names)} taken to be {told(ports[0].shape)}")
    module = with_ports(spec, module, ports)
    if counts is None:
        counts = not ports and _counts(module, shape)
    answer = _first_answer(spec, module, shape, counts)
    module, dropped = with_output(spec, module, answer, shape, ends.output, counts)
    _check_answer(spec, module(_zeros(1, shape, counts)) if isinstance(module, Presented) else answer)
    return Read(module, shape, counts, (*notes, *([dropped] if dropped else [])))


SEVERAL = "give them as ((a, b), targets), as ({'name': a, ...}, targets), or the shapes with --inputs name=3,32,32"
"""How several inputs are given."""


def _zeros(rows: int, shape: tuple[int, ...], counts: bool) -> Tensor:
    return torch.zeros(rows, *shape, dtype=torch.int64 if counts else torch.float32)


def _counts(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """True for a module that takes whole numbers, as of words, and no floats."""
    if not any(isinstance(m, nn.Embedding) for m in module.modules()):
        return False
    for kind in (torch.float32, torch.int64):
        with suppress(Exception), torch.no_grad():  # whatever it raises, it does not take these
            module(torch.zeros(1, *shape, dtype=kind))
            return kind == torch.int64
    return False


def _first_answer(spec: str, module: nn.Module, shape: tuple[int, ...], counts: bool) -> object:
    """What the module answers to zeros; where a layer cannot take its input, names it and what it wants."""
    reached: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def seen(name: str, layer: nn.Module, inputs: tuple[object, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            reached.append((name, layer, tuple(inputs[0].shape[1:])))

    hooks = [
        layer.register_forward_pre_hook(lambda m, x, name=name: seen(name, m, x))
        for name, layer in inner(module).named_modules()
        if not any(True for _ in layer.children())
    ]
    call = module.answer if isinstance(module, Presented) else module
    what = f"{spec} does not take an input of shape {told(shape)}"
    try:
        with torch.no_grad(), supervised(f"{what}: forward", user_code.folder_of(spec)):
            return call(_zeros(1, shape, counts))
    except BadInput as e:
        wants = _wants(*reached[-1]) if reached and isinstance(e.__cause__, Exception) else ""
        if wants:
            raise BadInput(f"{what}: {wants}") from e
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _check_answer(spec: str, answer: object) -> None:
    out = only_tensor(answer)
    if not isinstance(out, Tensor) or out.ndim < 1 or len(out) != 1:
        form = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise BadInput(
            f"{spec} returns {form} for one input; return one tensor with the batch in front, such as logits (batch, "
            f"classes)"
        )
    if not out.is_floating_point():
        raise BadInput(
            f"{spec} returns {out.dtype} values; return what is computed, such as logits, not what is chosen"
        )


def _wants(name: str, layer: nn.Module, got: tuple[int, ...]) -> str:
    """What a layer wanted and got, where its kind tells; else an empty string."""
    match layer:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() if not got or got[0] != layer.in_channels:
            return (
                f"layer {name!r} ({type(layer).__name__}) wants {layer.in_channels} channels and gets {told(got)}; "
                f"give --input-shape {layer.in_channels},H,W or data of this kind"
            )
        case nn.Linear() if not got or got[-1] != layer.in_features:
            return (
                f"layer {name!r} (Linear) wants {layer.in_features} features and gets {told(got)}; "
                f"give the height and width that the model was trained with (--input-shape, --resize)"
            )
        case nn.BatchNorm2d() | nn.BatchNorm1d() if not got or got[0] != layer.num_features:
            return f"layer {name!r} ({type(layer).__name__}) wants {layer.num_features} channels and gets {told(got)}"
        case _:
            return ""


def told(shape: tuple[int, ...]) -> str:
    """A shape in words: 3x32x32."""
    return "x".join(map(str, shape)) or "()"
