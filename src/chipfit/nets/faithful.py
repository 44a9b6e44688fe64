"""A module is traced, and what was traced is held against it: the network is the user's network, or it is refused.

Float32 rounds, and rounds differently from kernel to kernel; another function differs in float64 too. So a difference
that might be rounding is looked at again in float64, where of rounding 1e-12 is left.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from chipfit.core.errors import Untraceable
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.kinds import KINDS, named
from chipfit.nets.answers import (
    Answers,
    Counting,
    Floats,
    ask,
    largest_number,
    only_tensor,
    relative_error,
    undisturbed,
)
from chipfit.nets.build import GraphModule, build
from chipfit.nets.ending import ending
from chipfit.nets.trace import trace

NEAR, FAR, DEEP = 1e-4, 1e-3, 20
"""Allowed relative error: `NEAR` up to `DEEP` convolutions and linear layers in a row, beyond that `FAR`.

[measured] A ResNet-50 with random weights differs by 3e-6 from itself in another memory layout.
"""

DOUBT = 0.1
"""Share of what is allowed from which on a difference is looked at in float64."""

DOUBLE = 1e-5
"""Allowed relative error in float64, where scalars of the graph are rounded to float32 and nothing else is."""

SATURATING = named(lambda kind: kind.saturates)
"""Kinds that may hide at the end what happened before: the value that they read is held too."""

SHAPES = named(lambda kind: kind.moves in ("view", "all"))
"""Kinds that change no value."""

CONSTANT = 1e-6
"""Relative difference up to which answers are one and the same."""

SAMPLED = 1024
"""Values of a tensor that are compared to tell whether it is another one."""


def traced(
    name: str, module: nn.Module, shape: tuple[int, ...], real: Floats | None = None, integer: bool = False
) -> tuple[Network, Answers]:
    """The network that a float32 module computes, held against it, and the answers that files are held against.

    Args:
        name: of the module, for messages.
        module: left as it was.
        shape: of one input, without the batch axis.
        real: (n, *shape) some of the data's inputs, as the module is to see them.
        integer: the module takes whole numbers (int64), as tokens are; `real` and the answers hold them as floats.

    Raises:
        BadInput: the module's own answers are of no use; see `ask`.
        Untraceable: an operator without a rule, or one whose rule is wrong: the message names the first that differs.
    """
    with undisturbed(module):
        asked = Counting(module).eval() if integer else module
        answers = ask(name, asked, shape, real, largest_number(asked, shape, real) if integer else None)
        with _quiet():
            network = trace(module, shape, whole=True) if integer else trace(module, shape)
        answers = replace(answers, allowed=allowed_error(network.graph), least=least_scale(network.graph))
        hold(name, asked, network, answers)
    return network, answers


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch.export prints and logs where it fails, dozens of lines: the error says it in one.

    Where it does not fail, what was printed is the user's, from forward or a thread, and follows.
    """
    logger = logging.getLogger("torch")
    level, said, out, err = logger.level, StringIO(), sys.stdout, sys.stderr
    logger.setLevel(logging.CRITICAL)
    sys.stdout = sys.stderr = said
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        logger.setLevel(level)
    sys.stderr.write(said.getvalue())


def allowed_error(graph: Graph) -> float:
    """The relative error that rounding may reach: more where many layers with sums follow each other."""
    depth: dict[str, int] = {}
    for o in graph:
        depth[o.name] = max((depth[i] for i in o.inputs), default=0) + (o.kind in ("conv", "linear"))
    return NEAR if depth[graph.output] <= DEEP else FAR


SATURATED = 0.01
"""Least scale of answers between 0 and 1: runtimes round a sigmoid to some 1e-7, however near to 0 all answers are."""


def least_scale(graph: Graph) -> float:
    """The scale below which answers are not told from rounding: of those of a sigmoid or a softmax at the end."""
    return SATURATED if KINDS[ending(graph).kind].saturates else 0.0


def hold(name: str, module: nn.Module, network: Network, answers: Answers) -> None:
    """Refuses a network that does not answer as the module (in evaluation) does.

    Raises:
        Untraceable: names the first operator that differs.
    """
    x = torch.from_numpy(answers.inputs)
    try:
        built = build(network)
        together, alone = built(x).numpy(), built(x[:1]).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as e:
        line = (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
        raise Untraceable(f"{name}: what was traced of it cannot be computed ({line}); {_WAY_OUT}") from e
    error = max(answers.error(together), answers.take(1).error(alone))
    pair, limit = _Pair(module, built, x, answers.allowed), answers.allowed
    if error > DOUBT * answers.allowed and (doubled := _in_double(module, built, x)) is not None:
        pair, limit = doubled, DOUBLE
        error = relative_error(*pair.answers(), answers.kinds, answers.least)
    if error > limit:
        first = _told(pair.first_difference())
        raise Untraceable(
            f"{name} is traced wrongly: the network differs from it by {error:.2g} of the largest answer (allowed "
            f"{limit:g}){first}; {_WAY_OUT}"
        )
    if (behind := _behind(built, answers)) is not None and behind in pair.unlike(behind):
        first = _told(pair.first_difference(behind))
        raise Untraceable(f"{name} is traced wrongly: what its answers are made of differs{first}; {_WAY_OUT}")


_WAY_OUT = "write that part with other operators, and report this as a fault of chipfit"


def _told(first: Op | None) -> str:
    return "" if first is None else f", first at operator {first.kind!r} ({first.name!r})"


def _behind(built: GraphModule, answers: Answers) -> str | None:
    """The value that stands for the answer where that tells little: before a saturating end, before a constant."""
    graph, outputs = built.graph, answers.outputs
    if len(outputs) > 1 and np.abs(outputs - outputs[:1]).max() <= CONSTANT * np.abs(outputs).max():
        varying = [o.name for o, y in built.walk(torch.from_numpy(answers.inputs)) if _varies(y)]
        return varying[-1]  # the input does
    o, behind = graph[graph.output], None
    while o.kind in SATURATING | SHAPES:
        behind = o.inputs[0] if o.kind in SATURATING else behind
        o = graph[o.inputs[0]]
    return behind


def _varies(y: Tensor) -> bool:
    return bool((y - y[:1]).abs().max() > CONSTANT * y.abs().max())


@dataclass(frozen=True, slots=True)
class _Pair:
    """A module and the network made of it, on the same inputs; values within `tolerance` of each other are equal."""

    module: nn.Module
    built: GraphModule
    x: Tensor
    tolerance: float

    def answers(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The module's and the network's."""
        answer = only_tensor(self.module(self.x.clone()))
        assert isinstance(answer, Tensor)
        return answer.numpy(), self.built(self.x).numpy()

    def unlike(self, until: str = "") -> set[str]:
        """The network's values, the last of them `until`, that the module never computes, nor any that follows.

        A rewritten operator makes a value of its own and what follows is right again; from a wrong one on nothing is.
        Values that do not depend on the input prove nothing.
        """
        recorder = _Recorder()
        with recorder:
            self.module(self.x.clone())
        users, like, found = self.built.graph.users, set[str](), dict[str, bool]()
        for o, y in self.built.walk(self.x):
            if _varies(y):
                found[o.name] = self._is_in(y, recorder.seen)
            if o.name == until:
                break
        for o in reversed(self.built.graph.ops):
            if found.get(o.name) or any(user in like for user in users[o.name]):
                like.add(o.name)
        return set(found) - like

    def first_difference(self, until: str = "") -> Op | None:
        """The first operator of the network whose values are wrong; None where each is computed somewhere."""
        unlike = self.unlike(until)
        return next((o for o in self.built.graph if o.name in unlike), None)

    def _is_in(self, y: Tensor, seen: Mapping[int, Sequence[Tensor]]) -> bool:
        mine = _sample(y)
        near = self.tolerance * mine.abs().max()
        return any(bool((mine - theirs).abs().max() <= near) for theirs in seen.get(y.numel(), ()))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps samples of every tensor that torch computes meanwhile, by number of values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[int, list[Tensor]] = defaultdict(list)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for y in out if isinstance(out, tuple | list) else (out,):
            if isinstance(y, Tensor) and y.is_floating_point() and y.numel():
                self.seen[y.numel()].append(_sample(y))  # at once: an operator in place may change it later
        return out


def _sample(y: Tensor) -> Tensor:
    """Some values of a tensor, the same places of every tensor with as many values."""
    flat = y.detach().reshape(-1)
    return flat[torch.linspace(0, flat.numel() - 1, min(SAMPLED, flat.numel()), dtype=torch.float64).long()].clone()


def _in_double(module: nn.Module, built: GraphModule, x: Tensor) -> _Pair | None:
    """Both in float64, None where the module cannot."""
    try:
        twin = copy.deepcopy(module).double()
        pair = _Pair(twin, copy.deepcopy(built).double(), x.double(), DOUBLE)
        want, _ = pair.answers()
    except Exception:  # the user's code: whatever it raises on float64 says nothing about float32
        return None
    return pair if want.dtype == np.float64 else None
