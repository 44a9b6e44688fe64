"""A module as the user's function handed it over: refused where it is none with weights that can be computed with."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from chipfit.core.errors import BadInput


def received(spec: str, found: object) -> nn.Module:
    """What `spec` returned, if it is a module whose weights are there.

    Tensors made under `torch.inference_mode` can neither be loaded into nor restored outside of it: of a module that
    has some a copy is returned.

    Raises:
        BadInput: something else, a TorchScript module, or weights without values.
    """
    if not isinstance(found, nn.Module):
        hint = "the class itself; return an instance" if isinstance(found, type) else _kind(found)
        raise BadInput(f"{spec} returned {hint}; return a torch.nn.Module with its weights, or give --weights")
    if isinstance(found, torch.jit.ScriptModule):
        raise BadInput(
            f"{spec} returned a TorchScript module, which cannot be looked into; return the module it was made of"
        )
    without = [n for n, t in _held(found) if not is_lazy(t) and t.is_meta]
    if without:
        raise BadInput(
            f"{spec} returned a module on the meta device, {len(without)} of whose tensors ({without[0]}, ...) have no "
            f"values; build it on the cpu"
        )
    packed = next((n for n, t in _held(found) if not is_lazy(t) and _is_packed(t)), None)
    if packed is not None:
        raise BadInput(
            f"{spec} returned a module whose {packed!r} is sparse, quantised or of 8-bit floats; give it dense float "
            f"weights"
        )
    made_for_inference = any(t.is_inference() for _, t in _held(found) if not is_lazy(t))
    return copy.deepcopy(found) if made_for_inference else found


def lazy(module: nn.Module) -> str:
    """The first parameter or buffer that waits for an input to get its shape; empty where there is none."""
    return next((n for n, t in _held(module) if is_lazy(t)), "")


def check_weights(spec: str, module: nn.Module) -> None:
    """Raises BadInput where weights are missing, NaN or infinite; masks, which are buffers, may be infinite."""
    if name := lazy(module):
        raise BadInput(
            f"{spec} returned a module whose {name!r} has no values before a first input; call the module once on an "
            f"input in there, and load its weights then"
        )
    parameters = {n for n, _ in module.named_parameters(remove_duplicate=False)}
    spoilt = [n for n, t in _held(module) if _is_spoilt(t, n in parameters or "running_" in n)]
    if spoilt:
        others = f" and {len(spoilt) - 1} others" if len(spoilt) > 1 else ""
        raise BadInput(f"{spec} leaves NaN or infinite values in {spoilt[0]!r}{others}; give the model sound weights")


def _held(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _is_packed(t: Tensor) -> bool:
    """True for what takes more than its own values to be computed with."""
    tiny = t.is_floating_point() and t.element_size() == 1
    return t.layout != torch.strided or t.is_quantized or tiny


def _is_spoilt(t: Tensor, finite: bool) -> bool:
    if not (t.is_floating_point() or t.is_complex()):
        return False
    return not bool(torch.isfinite(t).all()) if finite else bool(torch.isnan(t).any())


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
