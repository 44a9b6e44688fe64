"""Weights from a file into a module: safetensors, or a state dict that torch reads without running code.

Nothing is guessed: a name too many, a name too few, another shape or a NaN is an error. The prefixes that
DataParallel and torch.compile put before every name are taken off.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from chipfit.core.errors import BadInput

State = dict[str, Tensor]
_NESTS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
_COUNTER = "num_batches_tracked"
"""Batch norm's counter of training batches: of no use in evaluation, and often missing."""


def load_into(module: nn.Module, path: Path) -> None:
    """Fills the module's parameters and buffers from a .safetensors, .pt or .pth file.

    Raises:
        BadInput: no such file, one that needs code to be read, names or shapes that differ, or a NaN.
    """
    state = _without_prefix(read_state(path))
    own = module.state_dict()
    missing = [n for n in own if n not in state and not n.endswith(_COUNTER)]
    unexpected = [n for n in state if n not in own and not n.endswith(_COUNTER)]
    if missing or unexpected:
        raise BadInput(f"weights {path.name!r} do not fit the model: {_misfit(missing, unexpected)}")
    differ = [n for n in own if n in state and own[n].shape != state[n].shape]
    if differ:
        n = differ[0]
        raise BadInput(
            f"weights {path.name!r} do not fit the model: {len(differ)} shapes differ, the first is {n!r}: "
            f"{tuple(state[n].shape)} in the file, {tuple(own[n].shape)} in the model"
        )
    bad = [n for n, t in state.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if bad:
        raise BadInput(
            f"weights {path.name!r} hold NaN or infinite values in {len(bad)} tensors, the first is {bad[0]!r}; "
            f"take an earlier checkpoint"
        )
    module.load_state_dict({n: t for n, t in state.items() if n in own}, strict=False)


def read_state(path: Path) -> State:
    """Names and tensors of a file.

    Raises:
        BadInput: no such file, an unknown suffix, a damaged file, or one that holds more than tensors.
    """
    if not path.is_file():
        raise BadInput(f"weights {str(path)!r} do not exist; give a .safetensors, .pt or .pth file")
    match path.suffix:
        case ".safetensors":
            try:
                return load_file(path)
            except (SafetensorError, OSError) as e:
                raise BadInput(f"weights {str(path)!r} are no safetensors file ({_line(e)})") from e
        case ".pt" | ".pth":
            return _nested(_torch_load(path), path)
        case suffix:
            raise BadInput(f"weights {str(path)!r} are of unknown kind {suffix!r}; give .safetensors, .pt or .pth")


def _torch_load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise BadInput(
            f"weights {str(path)!r} hold more than tensors, and reading them would run code; convert them "
            f"once where you trust them: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from e
    except (RuntimeError, EOFError, OSError, ValueError) as e:
        raise BadInput(f"weights {str(path)!r} cannot be read ({_line(e)}); save model.state_dict() again") from e


def _nested(found: object, path: Path) -> State:
    """The state dict itself, which training scripts often put one level down."""
    for nest in _NESTS:
        if isinstance(found, Mapping) and isinstance(found.get(nest), Mapping):
            found = found[nest]
            break
    if not isinstance(found, Mapping) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        have = (
            f"a dict of {', '.join(map(str, list(found)[:5]))}" if isinstance(found, Mapping) else type(found).__name__
        )
        raise BadInput(
            f"weights {str(path)!r} hold no state dict but {have}; save model.state_dict(), alone or as 'state_dict'"
        )
    return dict(found)


def _without_prefix(state: State) -> State:
    for prefix in _PREFIXES:
        if state and all(n.startswith(prefix) for n in state):
            state = {n.removeprefix(prefix): t for n, t in state.items()}
    return state


def _misfit(missing: list[str], unexpected: list[str]) -> str:
    said = []
    for what, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            said.append(f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return " and ".join(said)


def _line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:120]
