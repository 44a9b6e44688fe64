"""Masks of attention that the input sets, such as those of padding, as values: 0 where a key counts, else a large loss.

Attention takes truth values, which no operator of a graph holds. What they add to the scores is a batch of floats like
any other, so that everything up to it is one operator taken as it is, and attention itself stays products and softmax.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import fx

BLOCKED = -1e30
"""What a mask adds where nothing may be looked at: finite, for files hold no infinity that all runtimes take."""

_MASK = 3
"""Place of the mask among the arguments of attention."""


def masks_as_values(graph: fx.Graph, inputs: Collection[str]) -> None:
    """Puts an operator between each mask of truth values that one of these inputs sets, and the attention it is of."""
    set_by_input: set[fx.Node] = set()
    for node in list(graph.nodes):
        if node.name in inputs or any(source in set_by_input for source in node.all_input_nodes):
            set_by_input.add(node)
        if node.target is not torch.ops.aten.scaled_dot_product_attention.default:
            continue
        mask = node.args[_MASK] if len(node.args) > _MASK else node.kwargs.get("attn_mask")
        if mask in set_by_input and mask.meta["val"].dtype == torch.bool:
            node.replace_input_with(mask, _added(graph, node, mask))


def _added(graph: fx.Graph, attention: fx.Node, mask: fx.Node) -> fx.Node:
    with graph.inserting_before(attention):
        made = graph.call_function(torch.ops.aten.where.Scalar, (mask, 0.0, BLOCKED))
    made.meta = {**attention.meta, "val": torch.ops.aten.where.Scalar(mask.meta["val"], 0.0, BLOCKED)}
    return made
