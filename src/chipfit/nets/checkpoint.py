"""Weights from a file into a module.

Nothing is guessed: a name too many, a name too few, another shape, another kind of number or a NaN is an error, and
nothing is loaded. What is no difference is taken away first:

* *Wrappers.* DataParallel, torch.compile and training frameworks put words before every name (`module.`,
  `_orig_mod.`, `model.`), in any order and more than once. A prefix that all names share is taken off when, and only
  when, the names that are left are the module's.
* *Ties.* Names of the module that share storage are one tensor. Files that keep one of them (safetensors' `save_model`)
  fill all; a file with two different values for one tensor is refused.
* *Width of floats.* float16, bfloat16 and float64 become what the module computes in, and this is told. Whatever else
  cannot stand for float weights (integers, bool, float8, which wants scales, sparse, quantised or meta tensors).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput
from chipfit.core.words import number_of
from chipfit.nets.weights_file import State, one_line, read_state

__all__ = ["load_into", "read_state"]

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that float weights may be stored in."""

_COUNTER = "num_batches_tracked"
"""Batch norm's counter of training batches: of no use in evaluation, and often missing."""

_COMPILED = "_orig_mod"
"""The word that torch.compile puts before the names of what it compiled, wherever that stands in a model."""

_NORM = re.compile(r"((?:.*\.)?)parametrizations\.([^.]+)\.(original[01]?|0\._[uv])")
_OLD_NORM = {"original0": "_g", "original1": "_v", "original": "_orig", "0._u": "_u", "0._v": "_v"}
"""Names of weight and spectral norm, and what followed the weight's name before they were parametrisations."""


def load_into(module: nn.Module, path: Path) -> str:
    """Fills the module's parameters and buffers from a file of weights (`read_state`).

    Returns:
        What was converted, in words; empty where nothing was.

    Raises:
        BadInput: no such file, one that needs code to be read, or names, ties, shapes, kinds of numbers or values that
            do not fit.
    """
    own = {n: t for n, t in module.state_dict().items() if isinstance(t, Tensor)}
    twins = _twins(own)
    state = _in_the_modules_words(read_state(path), own, twins)
    _check_names(path.name, state, own, twins)
    state = {n: t for n, t in state.items() if n in own and not _idle_counter(n, t, own[n])}
    for name, tensor in state.items():
        _check_kind(path.name, name, tensor, own[name])
    _check_shapes(path.name, state, own)
    fitting = {n: t.to(own[n].dtype) for n, t in state.items()}
    _check_values(path.name, state, fitting, own)
    for group in twins:
        fitting |= dict.fromkeys(group, _one_value(path.name, group, fitting))
    try:
        module.load_state_dict(fitting, strict=False)
    except Exception as e:  # hooks of the user's module, or parameters that are views of one another
        raise BadInput(f"weights {path.name!r} could not be copied into the model ({one_line(e)})") from e
    now = module.state_dict()
    if lost := [n for n, t in fitting.items() if n not in now or not torch.equal(now[n].cpu(), t)]:
        raise BadInput(
            f"weights {path.name!r} were not taken by the model as they are: {lost[0]!r} differs after loading"
        )
    return _converted(state, own)


def _twins(own: State) -> list[tuple[str, ...]]:
    """Groups of names of one tensor: same storage, place and shape."""
    groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, t in own.items():
        if t.layout == torch.strided and not t.is_meta and t.numel():
            groups[t.data_ptr(), t.dtype, tuple(t.shape), t.stride()].append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def _in_the_modules_words(state: State, own: State, twins: Sequence[tuple[str, ...]]) -> State:
    """The state under the module's names, if only wrappers stand between the two; else as close as it comes."""
    by_word = {_word(n): n for n in own}
    words = {_word(n): t for n, t in state.items()}
    best, least = state, _misfits(state, own, twins)
    if len(words) < len(state) or len(by_word) < len(own):
        return best  # two names for one word: nothing to go by
    for theirs, ours in product(_prefixes(words), _prefixes(by_word)):
        moved = {f"{ours}{w.removeprefix(theirs)}": t for w, t in words.items()}
        named = {by_word.get(w, w): t for w, t in moved.items()}
        misfits = _misfits(named, own, twins)
        if misfits < least:
            best, least = named, misfits
    return best


def _word(name: str) -> str:
    """The name without what torch.compile and parametrisations of norms add to it."""
    plain = ".".join(part for part in name.split(".") if part != _COMPILED)
    norm = _NORM.fullmatch(plain)
    return plain if norm is None else f"{norm[1]}{norm[2]}{_OLD_NORM[norm[3]]}"


def _prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes "", "a.", "a.b.", ... that all names have; never a whole name."""
    paths = [name.split(".")[:-1] for name in names]
    prefixes = [""]
    for words in zip(*paths, strict=False):
        if len(set(words)) > 1:
            break
        prefixes.append(f"{prefixes[-1]}{words[0]}.")
    return prefixes


def _misfits(state: State, own: State, twins: Sequence[tuple[str, ...]]) -> int:
    return sum(map(len, _missing_and_unexpected(state, own, twins)))


def _missing_and_unexpected(state: State, own: State, twins: Sequence[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    known = {n for group in twins if any(n in state for n in group) for n in group}
    missing = [n for n in own if n not in state and n not in known and not n.endswith(_COUNTER)]
    unexpected = [n for n in state if n not in own and not n.endswith(_COUNTER)]
    return missing, unexpected


def _check_names(file: str, state: State, own: State, twins: Sequence[tuple[str, ...]]) -> None:
    missing, unexpected = _missing_and_unexpected(state, own, twins)
    if missing or unexpected:
        hint = ""
        if any(".parametrizations." in f".{n}" for n in missing):
            hint = (
                "; the model's weights are parametrised: save the file from the same model, or remove them in build()"
            )
        raise BadInput(f"weights {file!r} do not fit the model: {_misfit(missing, unexpected)}{hint}")


def _idle_counter(name: str, tensor: Tensor, own: Tensor) -> bool:
    """True for a counter of batches that is stored in another way: it changes nothing, and is left as it is."""
    return name.endswith(_COUNTER) and (tensor.dtype != own.dtype or tensor.shape != own.shape)


def _check_kind(file: str, name: str, tensor: Tensor, own: Tensor) -> None:
    """Refuses what is not a plain tensor of numbers of the module's kind, before any arithmetic on it."""
    kind = str(tensor.dtype).removeprefix("torch.")
    said = ""
    if tensor.is_meta:
        said = "has no values (it is on the meta device); save the file from a model that was loaded"
    elif tensor.is_quantized:
        said = f"is quantised ({kind}); store it dequantised: tensor.dequantize()"
    elif tensor.layout != torch.strided or tensor.is_nested:
        said = f"is sparse or packed ({str(tensor.layout).removeprefix('torch.')}); store it dense: tensor.to_dense()"
    elif own.is_floating_point() and tensor.dtype not in FLOATS:
        said = f"is {kind} in the file, and float weights are wanted{_way_out(tensor)}"
    elif not own.is_floating_point() and not _same_kind(tensor, own):
        said = f"is {kind} in the file, and {str(own.dtype).removeprefix('torch.')} in the model"
    if said:
        raise BadInput(f"weights {file!r} do not fit the model: {name!r} {said}")


def _way_out(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "; complex weights are not supported"
    what = "8-bit floats" if tensor.is_floating_point() else "integers"
    return f"; {what} mean nothing without their scales: store the dequantised weights as float32"


def _same_kind(tensor: Tensor, own: Tensor) -> bool:
    """Both bool, both integers (whose values fit), both complex."""
    if torch.bool in (tensor.dtype, own.dtype) or own.is_complex() or tensor.is_complex():
        return tensor.dtype == own.dtype
    return not tensor.is_floating_point() and torch.equal(tensor.to(own.dtype).to(tensor.dtype), tensor)


def _check_shapes(file: str, state: State, own: State) -> None:
    differ = [n for n in state if own[n].shape != state[n].shape]
    if differ:
        n, told = differ[0], f"{len(differ)} shapes differ" if len(differ) > 1 else "1 shape differs"
        raise BadInput(
            f"weights {file!r} do not fit the model: {told}, the first is {n!r}: "
            f"{tuple(state[n].shape)} in the file, {tuple(own[n].shape)} in the model"
        )


def _check_values(file: str, state: State, fitting: State, own: State) -> None:
    """Refuses NaN and infinity, but for buffers that hold them in the module too, such as masks."""
    spoilt = [n for n, t in fitting.items() if not _sound(t) and _sound(own[n])]
    if not spoilt:
        return
    name = spoilt[0]
    if _sound(state[name]):
        raise BadInput(f"weights {file!r}: {name!r} holds values too large for {fitting[name].dtype}; scale them down")
    raise BadInput(
        f"weights {file!r} hold NaN or infinite values in {number_of(len(spoilt), 'tensor')}, the first is {name!r}; "
        f"take an earlier checkpoint"
    )


def _sound(t: Tensor) -> bool:
    return not t.is_floating_point() or bool(torch.isfinite(t).all())


def _one_value(file: str, group: Collection[str], fitting: State) -> Tensor:
    """The value that all names of one tensor have in the file."""
    given = [n for n in group if n in fitting]
    for other in given[1:]:
        if not torch.equal(fitting[given[0]], fitting[other]):
            raise BadInput(
                f"weights {file!r}: {given[0]!r} and {other!r} are one tensor in the model (tied), and differ in the "
                f"file; untie them in build(), or save the weights of the tied model"
            )
    return fitting[given[0]]


def _converted(state: State, own: State) -> str:
    """Which floats became others, in words."""
    pairs = {(t.dtype, own[n].dtype) for n, t in state.items() if t.is_floating_point() and t.dtype != own[n].dtype}
    words = [f"{a} as {b}".replace("torch.", "") for a, b in sorted(pairs, key=str)]
    return ", ".join(words)


def _misfit(missing: list[str], unexpected: list[str]) -> str:
    said = []
    for what, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            said.append(f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return " and ".join(said)
