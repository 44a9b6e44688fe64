"""What each kind of operator does to what stands on its inputs' axes: one rule a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chipfit.core.graph import Op, single
from chipfit.core.kinds import known
from chipfit.core.opaque import told
from chipfit.space.terms import Row, fixed, length

if TYPE_CHECKING:
    from chipfit.space.coupling import Analysis, Rows

    Rule = Callable[[Analysis, Op], Rows]


def _input(a: Analysis, o: Op) -> Rows:
    first, *others = o.shape
    return (a.terms.new(first, "they go with the network's input"), *map(fixed, others))


def _conv(a: Analysis, o: Op) -> Rows:
    row, *places = a.of(o)
    a.keep(places, f"'{o.name}' goes over them")
    inputs, groups, outputs = length(row), o["groups"], o.shape[0]
    if groups == 1:
        out = a.terms.new(outputs)
        a.layer(o, out, row)
    elif groups == inputs == outputs:
        out = row
        a.carry(o)
        a.counts[o.name, "groups"] = row
    else:
        why = f"grouped convolution '{o.name}' mixes fixed groups of channels"
        group, within = a.terms.split(row, inputs // groups, why)
        out = a.terms.times(group, a.terms.part(outputs // groups, ""))
        a.layer(o, out, within)
        a.counts[o.name, "groups"] = group
    return (out, *map(fixed, o.shape[1:]))


def _conv_transpose(a: Analysis, o: Op) -> Rows:
    """Its weight has the channels in on its first axis, those out on its second."""
    row, *places = a.of(o)
    if o["groups"] > 1:
        return a.opaque(o, f"grouped convolution '{o.name}' mixes fixed groups of channels")
    a.keep(places, f"'{o.name}' goes over them")
    out = a.terms.new(o.shape[0])
    for role, shape in a.graph.roles(o).items():
        a.array(o, role, (row, out, *map(fixed, shape[2:])) if len(shape) > 1 else (out,))
    a.makers[o.name], a.readers[o.name] = out, row
    return (out, *map(fixed, o.shape[1:]))


def _linear(a: Analysis, o: Op) -> Rows:
    *places, row = a.of(o)
    out = a.terms.new(o.shape[-1])
    a.layer(o, out, row)
    return (*places, out)


def _channelwise(a: Analysis, o: Op) -> Rows:
    if single(o):
        for role, shape in a.graph.roles(o).items():
            a.array(o, role, tuple(map(fixed, shape)))
    else:
        a.carry(o)
    return a.of(o)


def _same(a: Analysis, o: Op) -> Rows:
    return a.of(o)


def _pool(a: Analysis, o: Op) -> Rows:
    row, *places = a.of(o)
    a.keep(places, f"'{o.name}' goes over them")
    return (row, *map(fixed, o.shape[1:]))


def _elementwise(a: Analysis, o: Op) -> Rows:
    operands = [a.rows[i] for i in o.inputs]
    if any(len(rows) != len(o.shape) for rows in operands):
        return a.opaque(o, f"'{o.name}' broadcasts values of different rank")
    return tuple(_met(a, o, [rows[n] for rows in operands], size) for n, size in enumerate(o.shape))


def _met(a: Analysis, o: Op, rows: list[Row], size: int) -> Row:
    """One axis of the operands of an element-wise operator; a single place is broadcast."""
    whole = [row for row in rows if length(row) == size]
    a.keep([row for row in rows if length(row) != size], f"'{o.name}' broadcasts its single channel")
    for other in whole[1:]:
        a.terms.join(whole[0], other, f"'{o.name}' joins differently concatenated channels")
    return whole[0]


def _concat(a: Analysis, o: Op) -> Rows:
    operands, axis = [a.rows[i] for i in o.inputs], o["axis"]
    first = operands[0]
    for rows in operands[1:]:
        for n in range(len(first)):
            if n != axis:
                a.terms.join(first[n], rows[n], f"concatenation '{o.name}' joins different channels")
    together = tuple(product for rows in operands for product in rows[axis])
    return (*first[:axis], together, *first[axis + 1 :])


def _reshape(a: Analysis, o: Op) -> Rows:
    return a.reshaped(a.of(o), o.shape, f"{o.kind} '{o.name}' rearranges channels")


def _transpose(a: Analysis, o: Op) -> Rows:
    rows = a.of(o)
    return tuple(rows[axis] for axis in o["perm"])


def _slice(a: Analysis, o: Op) -> Rows:
    rows, axis = a.of(o), o["axis"]
    if o["step"] != 1:
        a.keep([rows[axis]], f"slice '{o.name}' takes fixed channels")
        return (*rows[:axis], fixed(o.shape[axis]), *rows[axis + 1 :])
    before, rest = a.terms.cut(rows[axis], o["start"])
    part, _ = a.terms.cut(rest, o["stop"] - o["start"])
    a.counts[o.name, "start"] = before
    a.counts[o.name, "stop"] = (*before, *part)
    return (*rows[:axis], part, *rows[axis + 1 :])


def _pad(a: Analysis, o: Op) -> Rows:
    rows, pads = list(a.of(o)), o["pads"]
    for axis, row in enumerate(rows):
        if any(pads[2 * axis : 2 * axis + 2]):
            a.keep([row], f"pad '{o.name}' rearranges channels")
            rows[axis] = fixed(o.shape[axis])
    return tuple(rows)


def _constant(a: Analysis, o: Op) -> Rows:
    """An array as a value: its axes are those of what it is joined to."""
    rows = tuple(a.terms.part(size, "") for size in o.shape)
    for role in a.graph.roles(o):
        a.array(o, role, rows)
    return rows


def _norm(a: Analysis, o: Op) -> Rows:
    """A norm over the last axes: with fewer channels mean and variance would be others; of a stream they may be."""
    rows, first = a.of(o), len(o.shape) - o["axes"]
    if o.name in a.turnable:
        a.norms[o.name] = rows[-1]
    else:
        a.keep(rows[first:], f"'{o.name}' normalises over them")
    for role in a.graph.roles(o):
        a.array(o, role, rows[first:])
    return rows


def _group_norm(a: Analysis, o: Op) -> Rows:
    """Whole groups may go, which have statistics of their own; channels of each may not."""
    row, *places = a.of(o)
    why = f"'{o.name}' normalises over them"
    group, within = a.terms.split(row, length(row) // o["groups"], why)
    a.keep((within, *places), why)
    a.carry(o)
    a.counts[o.name, "groups"] = group
    return a.of(o)


def _instance_norm(a: Analysis, o: Op) -> Rows:
    a.keep(a.of(o)[1:], f"'{o.name}' normalises over them")
    a.carry(o)
    return a.of(o)


def _matmul(a: Analysis, o: Op) -> Rows:
    """(.., n, k) times (.., k, m): what is summed over goes from both."""
    (*lead, rows, within), (*others, again, columns) = a.of(o, 0), a.of(o, 1)
    a.terms.join(within, again, f"'{o.name}' multiplies different channels")
    a.products.append((o.name, within))
    met = [_met(a, o, list(pair), size) for pair, size in zip(zip(lead, others, strict=True), o.shape, strict=False)]
    return (*met, rows, columns)


def _reduce(a: Analysis, o: Op) -> Rows:
    rows, axes = a.of(o), o["axes"]
    a.keep([rows[axis] for axis in axes], f"'{o.name}' is taken over them")
    if o["keep"]:
        return tuple(fixed(1) if axis in axes else row for axis, row in enumerate(rows))
    return tuple(row for axis, row in enumerate(rows) if axis not in axes)


def _embedding(a: Analysis, o: Op) -> Rows:
    """A row of the table for each word."""
    a.keep(a.of(o), f"'{o.name}' looks them up")
    out = a.terms.new(o.shape[-1])
    for role, shape in a.graph.roles(o).items():
        a.array(o, role, (*map(fixed, shape[:-1]), out))
    a.makers[o.name] = out
    return (*a.of(o), out)


def _softmax(a: Analysis, o: Op) -> Rows:
    a.keep([a.of(o)[o["axis"]]], f"{o.kind} '{o.name}' divides among them")
    return a.of(o)


def _opaque(a: Analysis, o: Op) -> Rows:
    return a.opaque(o, f"'{o.name}' ({told(o)}) is taken as it is")


_BY_KIND: dict[str, Rule] = {
    "input": _input,
    "constant": _constant,
    "conv": _conv,
    "conv3d": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "embedding": _embedding,
    "layer_norm": _norm,
    "rms_norm": _norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "matmul": _matmul,
    "concat": _concat,
    "flatten": _reshape,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "opaque": _opaque,
}

_BY_FAMILY: dict[str, Rule] = {
    "activation": _same,
    "function": _same,
    "join": _elementwise,
    "pool": _pool,
    "pool_3d": _pool,
    "global_pool": _pool,
    "resize": _pool,
    "reduction": _reduce,
    "softmax": _softmax,
}


def rule_of(kind: str) -> Rule | None:
    """The rule of a kind: its own, or that of its family; None where its channels are not followed."""
    record = known(kind)
    if kind in _BY_KIND or record is None:
        return _BY_KIND.get(kind)
    return _channelwise if record.channels == "carries" else _BY_FAMILY.get(record.family)
