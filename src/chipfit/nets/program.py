"""A torch module as a functional program: what `torch.export` sees, with every in-place operator made pure.

In-place operators change values that were read before them, and views share what they change: read one by one they
would be taken for pure ones. `run_decompositions` with an empty table rewrites them, views included, into operators
that make new values, and leaves convolutions, dense layers, pools and activations whole.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

from chipfit.core.errors import BadInput, Untraceable

BATCH = 3
"""Batch size of the trace: unusual, so that an axis of this size is the batch."""


def exported(module: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """The functional program of `module` in evaluation mode, for inputs (BATCH, *input_shape).

    Raises:
        BadInput: the module does not take an input of this shape.
        Untraceable: control flow on data, or anything else that `torch.export` does not follow.
    """
    was_training = module.training
    module.eval()
    x = torch.zeros(BATCH, *input_shape)
    try:
        _try(module, x.clone(), input_shape)
        program = torch.export.export(module, (x,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, about names that it uses itself
            functional: torch.export.ExportedProgram = program.run_decompositions({})
            return functional
    except BadInput:
        raise
    except Exception as e:
        way_out = ""
        if "assigned during export" in str(e):
            way_out = "; pruning and old weight norms do this: make them final (torch.nn.utils.prune.remove) first"
        raise Untraceable(f"the model cannot be traced by torch.export: {_first_line(e)}{way_out}") from e
    finally:
        module.train(was_training)


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
