"""What a user's module answers: the truth that everything made of it is held against.

It is asked in evaluation and left as it was: modes, buffers and random generators. Asked in two batch sizes it has to
give the same answers, or no network of fixed operators is its equal.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from chipfit.core.errors import BadInput
from chipfit.core.supervised import told
from chipfit.nets.questions import DATA, NORMAL, ROWS, WIDE, Floats, largest_number, questions, tokens_as_floats

__all__ = [
    "ROWS", "Answers", "Counting", "Floats", "ask", "largest_number", "only_tensor", "relative_error", "undisturbed",
]  # fmt: skip

Rows = NDArray[np.bool_]

BATCH_TOLERANCE = 1e-3
"""Largest difference of an answer given alone from that given among others, as a share of the largest answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Inputs (n, ...) and what the module answers to them (n, ...); `kinds` says of each row what it is.

    `allowed` is the largest relative error that what was made of the module may show, where answers are as large as
    `least` or larger.
    """

    inputs: Floats
    outputs: Floats
    kinds: tuple[str, ...]
    allowed: float
    least: float = 0.0

    def error(self, got: NDArray[np.floating]) -> float:
        """Largest difference of other answers (n, ...), as a share of the largest answer to inputs of a kind."""
        return relative_error(self.outputs, got, self.kinds, self.least)

    def take(self, n: int) -> Answers:
        """The first `n` of them."""
        return replace(self, inputs=self.inputs[:n], outputs=self.outputs[:n], kinds=self.kinds[:n])

    def only(self, rows: Rows) -> Answers:
        """Those of the rows that are true."""
        return replace(self, inputs=self.inputs[rows], outputs=self.outputs[rows], kinds=_of(self.kinds, rows))


def relative_error(
    want: NDArray[np.floating], got: NDArray[np.floating], kinds: tuple[str, ...], least: float = 0.0
) -> float:
    """The largest of the kinds' errors: each kind has a scale of its own, or wide inputs would hide the others.

    A scale is the largest of the answers, or `least`.

    Infinite where the shapes differ or a value is not finite.
    """
    if want.shape != got.shape or not np.isfinite(got).all():
        return float("inf")
    worst = 0.0
    for kind in dict.fromkeys(kinds):
        rows = [n for n, k in enumerate(kinds) if k == kind]
        difference, scale = np.abs(got[rows] - want[rows]).max(), max(np.abs(want[rows]).max(), least)
        if difference > 0:
            worst = max(worst, float(difference / scale) if scale > 0 else float("inf"))
    return worst


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """The module in evaluation, without gradients and on one thread; afterwards all is as it was.

    On a busy machine several threads wait for each other: [measured] 7 s for a ResNet-50 where one takes .7 s.
    """
    modes = [(m, m.training) for m in module.modules()]
    buffers = [
        (m, name, b, b.detach().clone()) for m in module.modules() for name, b in m._buffers.items() if b is not None
    ]
    states = random.getstate(), np.random.get_state()  # numpy's global one: the user's code may draw from it
    threads = torch.get_num_threads()
    module.eval()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        for m, training in modes:
            m.training = training
        with torch.no_grad():
            for m, name, buffer, was in buffers:
                _restore(buffer, was)
                m._buffers[name] = buffer  # forward may have put another in its place
        random.setstate(states[0])
        np.random.set_state(states[1])


def _restore(buffer: Tensor, was: Tensor) -> None:
    if buffer.shape == was.shape:
        buffer.copy_(was)
    else:  # observers of quantisation grow theirs
        buffer.data = was


@final
class Counting(nn.Module):
    """A module that takes whole numbers, as one that takes floats which hold them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """What the module answers."""
        answer = only_tensor(self.module(x.long()))
        assert isinstance(answer, Tensor)
        return answer


def only_tensor(out: object) -> object:
    """The one tensor in a record or a dict that a module returns; else what it returns."""
    if isinstance(out, list | tuple):
        return out
    leaves = [leaf for leaf in tree_leaves(out) if leaf is not None]
    return leaves[0] if len(leaves) == 1 and isinstance(leaves[0], Tensor) else out


def ask(
    name: str, module: nn.Module, shape: tuple[int, ...], real: Floats | None = None, largest: int | None = None
) -> Answers:
    """The answers of a module (in evaluation) to random inputs of `shape` and to some of the data's (`real`).

    `largest`: the inputs are whole numbers from 0 to this one.

    Raises:
        BadInput: it answers otherwise when asked twice, or alone, or with something that is not finite.
    """
    inputs, kinds = questions(module, shape, real, largest)
    x = torch.from_numpy(inputs)
    try:
        together = _answered(name, module, x)
    except BadInput:
        if largest is None and tokens_as_floats(module):  # not every number is one
            return ask(name, module, shape, real, largest_number(module, shape, real))
        raise
    alone = _answered(name, module, x[:1])
    finite: Rows = np.array([bool(np.isfinite(answer).all()) for answer in together])
    if not all(ok or kind == WIDE for ok, kind in zip(finite, kinds, strict=True)):
        raise _not_finite(name, module, x, kinds, finite)
    if relative_error(together[:1], alone, kinds[:1]) > BATCH_TOLERANCE and not _same_in_double(module, x):
        again = _answered(name, module, x)
        repeats = relative_error(together[finite], again[finite], _of(kinds, finite)) <= BATCH_TOLERANCE
        raise _mixes(name) if repeats else _changes(name)
    return Answers(inputs[finite], together[finite], _of(kinds, finite), 0.0)


def _not_finite(name: str, module: nn.Module, x: Tensor, kinds: tuple[str, ...], finite: Rows) -> BadInput:
    normal = all(ok for ok, kind in zip(finite, kinds, strict=True) if kind == NORMAL)
    where, way_out = _where_not_finite(module, x[~finite]), "give trained, finite weights"
    if normal and DATA in _of(kinds, ~finite):
        where, way_out = f" to inputs of the data{where}", "see how these are scaled, and --normalize"
    return BadInput(f"{name} answers with values that are not finite{where}; {way_out}")


def _changes(name: str) -> BadInput:
    return BadInput(
        f"{name} gives another answer each time it is asked (dropout that is always on, random numbers in forward); "
        f"have it answer the same in eval mode"
    )


def _mixes(name: str) -> BadInput:
    return BadInput(
        f"{name} answers an input alone otherwise than among others: it mixes the inputs of a batch (so does a batch "
        f"norm that eval() does not reach); have forward treat each by itself"
    )


def _same_in_double(module: nn.Module, x: Tensor) -> bool:
    """True where the first answer alone is that among others once float32 does not round it."""
    try:
        twin, x = copy.deepcopy(module).double(), x.double()
        together, alone = twin(x.clone())[:1].numpy(), twin(x[:1].clone()).numpy()
    except Exception:  # the user's code: what it raises on float64 says nothing about float32
        return False
    return relative_error(together, alone, (NORMAL,)) <= BATCH_TOLERANCE


def _of(kinds: tuple[str, ...], rows: Rows) -> tuple[str, ...]:
    return tuple(kind for kind, taken in zip(kinds, rows, strict=True) if taken)


def _answered(name: str, module: nn.Module, x: Tensor) -> Floats:
    try:
        out = only_tensor(module(x.clone()))  # forward may write to its input
    except Exception as e:
        raise BadInput(f"{name} fails on a batch of {len(x)}: {told(e)}; have forward take any batch") from e
    if not isinstance(out, Tensor) or out.ndim < 1 or len(out) != len(x):
        form = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"type {type(out).__name__}"
        raise BadInput(f"{name} returns something of {form} for a batch of {len(x)}; return one row for each input")
    answer: Floats = out.detach().float().numpy()
    return answer


def _where_not_finite(module: nn.Module, x: Tensor) -> str:
    """The first layer whose output is not finite, and whether its weights are to blame."""
    found: list[str] = []

    def seen(path: str, layer: nn.Module, out: object) -> None:
        if isinstance(out, Tensor) and not found and not torch.isfinite(out).all():
            broken = any(not torch.isfinite(w).all() for w in layer.state_dict().values() if w.is_floating_point())
            found.append(f" from layer {path!r} on" + (", whose weights are not" if broken else ""))

    layers = [(path, layer) for path, layer in module.named_modules() if not any(True for _ in layer.children())]
    hooks = [layer.register_forward_hook(lambda m, _, y, p=path: seen(p, m, y)) for path, layer in layers]
    try:
        module(x.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found and not found[0].startswith(" from layer ''") else ""
