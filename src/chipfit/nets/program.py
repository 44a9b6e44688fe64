"""A torch module as a functional program: what `torch.export` sees, with every in-place operator made pure.

In-place operators change values that were read before them, and views share what they change: read one by one they
would be taken for pure ones. `run_decompositions` with an empty table rewrites them, views included, into operators
that make new values, and leaves convolutions, dense layers, pools and activations whole.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from chipfit.core.errors import BadInput, Untraceable
from chipfit.nets.masks import masks_as_values
from chipfit.nets.presented import INNER, Presented

BATCH = 211
"""Batch size of the trace: a prime that no other axis is a multiple of, so that each number says whether it holds it.

Fake tensors cost the same at any size; what is computed of constants is real, so that it is no larger.
"""

TRIED = 3
"""Batch size of the one real call before the trace."""


_RECURRENT = r"The tensor attributes? (self\.[\w.]*_flat_weights\[\d+\],? )+w"
"""How torch warns of its own recurrent layers, which keep their parameters in a list too."""


_KEEPS = "forward writes to the .data of a parameter, or keeps a tensor for later; do that once, outside of forward"


def exported(module: nn.Module, input_shape: tuple[int, ...], whole: bool = False) -> torch.export.ExportedProgram:
    """The functional program of `module` in evaluation mode, for inputs (BATCH, *input_shape).

    `whole`: the inputs are whole numbers, as tokens are.

    Raises:
        BadInput: the module does not take an input of this shape.
        Untraceable: control flow on data, or anything else that `torch.export` does not follow.
    """
    was_training = module.training
    module.eval()
    x = torch.zeros(BATCH, *input_shape, dtype=torch.int64 if whole else torch.float32)
    try:
        _try(module, x[:TRIED].clone(), input_shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _RECURRENT, UserWarning)
            program = torch.export.export(module, (x,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, about names that it uses itself
            functional: torch.export.ExportedProgram = program.run_decompositions({})
            unwrap(functional.graph_module)
            masks_as_values(functional.graph, functional.graph_signature.user_inputs)
            if isinstance(module, Presented):
                without_outermost(functional.graph_module)
            return functional
    except BadInput:
        raise
    except Exception as e:
        way_out = ""
        if "assigned during export" in str(e):
            way_out = "; pruning and old weight norms do this: make them final (torch.nn.utils.prune.remove) first"
        if "fake tensor in the exported program" in str(e):
            raise Untraceable(f"the model cannot be traced: {_KEEPS}") from e
        raise Untraceable(f"the model cannot be traced by torch.export: {_first_line(e)}{way_out}") from e
    finally:
        module.train(was_training)


_WRAPPERS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Operators that run a sub-graph in another state of torch -> the place of the sub-graph among their arguments."""


def unwrap(module: fx.GraphModule) -> None:
    """Writes sub-graphs that are run as they are, without gradients or outside of autocast, in the place of their call.

    A sub-graph under autocast computes in another precision, and stays.
    """
    for node in list(module.graph.nodes):
        place = _WRAPPERS.get(getattr(node.target, "__name__", ""))
        if place is None or (place == 4 and node.args[2]):
            continue
        inner = getattr(module, str(node.args[place].target))
        unwrap(inner)
        _inline(module.graph, node, inner.graph, node.args[place + 1 :])


def without_outermost(module: fx.GraphModule) -> None:
    """Names the modules of a program as they are called in the one that is presented."""
    for node in module.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if stack:
            rows = [(key, (_inside(str(path)), kind)) for key, (path, kind) in stack.items() if path]
            node.meta["nn_module_stack"] = dict(rows)


def _inside(path: str) -> str:
    return path.removeprefix(INNER).removeprefix(".")


def _inline(graph: fx.Graph, node: fx.Node, inner: fx.Graph, given: Sequence[Any]) -> None:
    """Puts the nodes of a sub-graph in front of the node that runs it, which goes."""
    values: dict[fx.Node, fx.Node] = {}
    arguments: Any = iter(given)
    results: Any = ()
    with graph.inserting_before(node):
        for part in inner.nodes:
            if part.op == "placeholder":
                values[part] = next(arguments)
            elif part.op == "output":
                results = fx.node.map_arg(part.args[0], lambda n: values[n])
            else:
                values[part] = graph.node_copy(part, lambda n: values[n])
    for user in list(node.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(results[user.args[1]])
        graph.erase_node(user)
    graph.erase_node(node)


def _try(module: nn.Module, x: torch.Tensor, input_shape: tuple[int, ...]) -> None:
    try:
        with torch.no_grad():
            module(x)
    except RuntimeError as e:
        raise BadInput(
            f"the model does not take an input of shape {input_shape}: {_first_line(e)}; give --input-shape C,H,W"
        ) from e


def _first_line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
