"""Dropping the body of a residual block, of which the shortcut is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Edited, Skip
from chipfit.core.graph import ACTIVATIONS, Graph, Op, live
from chipfit.space.edits.kind import Kind, Structure


def drops(edits: Sequence[Edit]) -> bool:
    """True where the edits of one option drop a block."""
    return any(isinstance(e, Skip) for e in edits)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Skip]) -> Edited:
    blocks = original.blocks
    for e in edits:
        if e.block not in blocks:
            raise KeyError(f"no residual block {e.block!r}; there are {', '.join(blocks)}")
    graph, instead = _without(made.graph, {e.block: blocks[e.block].shortcut for e in edits})
    left = {name for o in graph for name in graph.weight_shapes(o)}
    arrays = {name: source for name, source in made.arrays.items() if name in left}
    return replace(made, graph=graph, arrays=arrays, stands_for=_stands_for(original.graph, graph, instead))


def _without(graph: Graph, instead: Mapping[str, str]) -> tuple[Graph, dict[str, str]]:
    """The graph whose operators read other values `instead`, without those that nobody reads any more.

    Also `instead` with the ReLUs of a ReLU, which a dropped identity block leaves behind: they go too.
    """
    instead, ops = dict(instead), dict[str, Op]()
    for o in graph:
        inputs = tuple(_last(i, instead) for i in o.inputs)
        o = o if inputs == o.inputs else replace(o, inputs=inputs)  # the same one where it reads the same
        if o.kind == "relu" and ops[o.inputs[0]].kind == "relu":
            instead[o.name] = o.inputs[0]
        else:
            ops[o.name] = o
    return live(tuple(ops.values()), _last(graph.output, instead)), instead


def _last(name: str, instead: Mapping[str, str]) -> str:
    """What is read at last in the place of a value."""
    while name in instead:
        name = instead[name]
    return name


def _stands_for(original: Graph, left: Graph, instead: Mapping[str, str]) -> dict[str, str]:
    """For each operator that is left the one of the original whose output it should have.

    What the users of a dropped block read now should be what the block made; of several blocks in a row, the last one.
    Pushed back through an activation that nothing else reads, this is asked of the layers before it, which can thus
    absorb what was dropped.
    """
    answers = {o.name: o.name for o in left}
    for o in original:
        if (now := _last(o.name, instead)) in answers:
            answers[now] = o.name
    for o in reversed(left.ops):
        model = original[answers[o.name]]
        if o.kind in ACTIVATIONS and model.kind == o.kind and left.users[o.inputs[0]] == (o.name,):
            answers[o.inputs[0]] = model.inputs[0]
    return answers


SKIP = Kind(
    "skip",
    Skip,
    _rewrite,
    to_plain=lambda e: [e.block],
    from_plain=lambda block, _: Skip(block),
    in_words=lambda e: f"leaving out {e.block!r}",
    changed="residual blocks dropped",
    caption="Residual blocks: kept, or skipped.",
)
