"""LSTM and GRU: torch's own, with the rows of each gate in torch's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chipfit.nets.onnx.call import Array, Call, Function, Rule, Run, as_tensor

_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""For each of torch's gates its place in ONNX: i, o, f, c are i, f, c, o there; z, r, h are r, z, h."""


def recurrent(call: Call) -> Function:
    """All steps of one layer, in one direction or both."""
    kind = call.node.op_type
    both = _usual(call)
    if any(call.has(n) for n in (4, 7)):
        call.refuse("with sequence_lens or peepholes")
    directions = 2 if both else 1
    roles = _hold(call, _ORDER[kind], directions)
    hidden = call.constant(2).value.shape[-1]

    def function(run: Run, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
        read = [*given, *(None,) * 6]
        states = [_state(v, x, directions, hidden) for v in read[4:6]]
        arrays = [run.array(role) for role in roles]
        if kind == "LSTM":
            y, *last = torch.lstm(x, states, arrays, True, 1, 0.0, False, both, False)
        else:
            y, *last = torch.gru(x, states[0], arrays, True, 1, 0.0, False, both, False)
        steps, batch, _ = y.shape
        apart = y.reshape(steps, batch, directions, hidden).transpose(1, 2)
        return (apart, *last)

    return function


def _usual(call: Call) -> bool:
    """True for both directions; refuses what torch's layers have not."""
    direction = call.take("direction", "forward")
    if direction not in ("forward", "bidirectional"):
        call.refuse(f"with direction={direction!r}")
    usual = ["Sigmoid", "Tanh", "Tanh"] if call.node.op_type == "LSTM" else ["Sigmoid", "Tanh"]
    names = [n.decode() if isinstance(n, bytes) else n for n in call.take("activations", usual)]
    if names != usual * (len(names) // len(usual)):
        call.refuse(f"with activations={names}")
    call.ignore("hidden_size", "activation_alpha", "activation_beta")
    call.only("layout", 0)
    call.only("input_forget", 0)
    if call.given("clip"):
        call.refuse("with clip")
    if call.node.op_type == "GRU" and not call.take("linear_before_reset", 0):
        call.refuse("with linear_before_reset=0")
    return bool(direction == "bidirectional")


def _hold(call: Call, order: Sequence[int], directions: int) -> list[str]:
    """Makes the weights arrays of the node; their roles in torch's order."""
    gates, has_bias = len(order), call.has(3)

    def rows(direction: int, half: int = -1) -> Callable[[Array], Array]:
        def form(array: Array) -> Array:
            own = array[direction]
            if half >= 0:  # the biases of input and state are one behind the other
                own = np.split(own, 2)[half]
            return np.concatenate([np.split(own, gates)[gate] for gate in order])

        return form

    roles = []
    for d, suffix in enumerate(("", "_reverse")[:directions]):
        names = [f"{word}_l0{suffix}" for word in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        call.array(1, names[0], rows(d))
        call.array(2, names[1], rows(d))
        for half, name in enumerate(names[2:]):
            if has_bias:
                call.array(3, name, rows(d, half))
            else:
                call.array(2, name, lambda r: np.zeros(r.shape[1], np.float32), trained=False)
        roles += names
    return roles


def _state(value: Any, x: Tensor, directions: int, hidden: int) -> Tensor:
    """The state before the first step, of each input of the batch."""
    if value is None:
        return torch.zeros(directions, x.shape[1], hidden, dtype=x.dtype)
    state = as_tensor(value, x)
    return state if state.shape[1] == x.shape[1] else state[:, :1].expand(-1, x.shape[1], -1)


TABLE: dict[str, Rule] = {"LSTM": recurrent, "GRU": recurrent}
