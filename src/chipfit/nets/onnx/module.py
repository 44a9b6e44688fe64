"""A file's nodes as a torch module: each a module of its own, so that operators and weights keep their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from chipfit.nets.onnx.call import Array, Function, Run, Value
from chipfit.nets.onnx.constants import Alone


@final
class Node(nn.Module):
    """One node; its arrays are its parameters and buffers."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Sequence[Any], made_for: int | None, then: tuple[int, ...] | None) -> Any:
        """Its output, or a tuple of them."""
        return self.function(Run(self, made_for, then), *inputs)


@dataclass(frozen=True, slots=True)
class Step:
    """A node in running order.

    `inputs` are names of values, "" for what is left out or bound; `held` has the roles of inputs that are arrays of
    the node; `place` is that of its module. One without a place computes with shapes alone: `alone` runs it.
    """

    label: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    held: Mapping[int, str]
    place: str
    alone: Alone


@final
class OnnxModule(nn.Module):
    """The network of a file, called with a batch of each of its inputs, in their order or by name.

    `sources` are the names of these in the file, `numbers` constants that nodes read as they are, `made_for` is the
    batch of a file in which it is fixed.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        sources: tuple[str, ...],
        result: str,
        numbers: Mapping[str, Array],
        made_for: int | None,
    ) -> None:
        super().__init__()
        self.steps = tuple(steps)
        self.sources = sources
        self.result = result
        self.numbers = dict(numbers)
        self.made_for = made_for
        self.then: dict[str, tuple[int, ...]] = {}

    def open_batch(self, inputs: Sequence[Tensor]) -> None:
        """Notes the shapes of all values under the batch that the file is made for; `inputs` are one of each."""
        if self.made_for is not None:
            with torch.no_grad():
                values = self.values([x.expand(self.made_for, *x.shape[1:]) for x in inputs])
            self.then = {name: tuple(v.shape) for name, v in values.items() if isinstance(v, Tensor)}

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The file's output."""
        given = inputs or [named[name] for name in self.sources]
        answer: Tensor = self.values(given)[self.result]
        return answer

    def values(self, inputs: Sequence[Tensor]) -> dict[str, Any]:
        """Every value by its name in the file.

        Raises:
            RuntimeError: a node cannot compute with what it gets; names it.
        """
        batch = len(inputs[0])
        values: dict[str, Any] = {**dict(zip(self.sources, inputs, strict=True)), **self.numbers}
        for step in self.steps:
            try:
                made = self._run(step, values, batch)
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError) as e:
                line = (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
                raise RuntimeError(f"node {step.label!r} ({step.kind}): {line}") from e
            values.update(zip(step.outputs, made, strict=False))
        return values

    def _run(self, step: Step, values: Mapping[str, Any], batch: int) -> Sequence[Value]:
        inputs: list[Any] = [values[name] if name else None for name in step.inputs]
        if not step.place:
            return [_alike(value, batch) for value in step.alone.run(inputs)]
        module = self.get_submodule(step.place)
        for place, role in step.held.items():
            inputs[place] = getattr(module, role)
        made = module(inputs, self.made_for, self.then.get(step.inputs[0] if step.inputs else ""))
        return made if isinstance(made, tuple | list) else (made,)


def _alike(value: Array, batch: int) -> Array:
    """Numbers that are the same for each input, exactly so: numpy rounds sines by their place in memory."""
    if value.dtype.kind != "f" or batch < 2 or value.ndim < 2 or value.shape[0] != batch:
        return value
    first = value[:1]
    return np.repeat(first, batch, 0) if np.allclose(value, first, rtol=1e-6, atol=1e-6) else value
