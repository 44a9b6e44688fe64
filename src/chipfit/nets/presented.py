"""A module of several inputs, or one that answers with several values, as one of one row and one answer.

Inputs stand side by side in a row (`core.ports`); of the answers one is chosen, by the user or because it is the only
one that a network can be fitted to. What is not chosen is dropped, and the entry's notes say so.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.ports import Port, Ports, spans

Path = tuple[str | int, ...]
"""Where in an answer a value is: keys, fields and places."""

CALLED_ANSWERS = ("logits", "out", "last_hidden_state")
"""Names under which libraries hand over what a network is for, beside values for training."""


INNER = "module"
"""The attribute that holds the user's module."""


@final
class Presented(nn.Module):
    """A module called with one tensor: rows of all its inputs where it has `ports`, answering with one of its values.

    Inputs are handed over by name where `by_name`, else in order. `output` is the value's place in the answer.
    """

    def __init__(self, module: nn.Module, ports: Ports = (), by_name: bool = False, output: Path = ()) -> None:
        super().__init__()
        self.module = module
        self.ports = ports
        self.by_name = by_name
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """The chosen value of what the module answers."""
        answer = self.answer(x)
        for step in self.output:
            answer = _part(answer, step)
        assert isinstance(answer, Tensor)
        return answer

    def answer(self, x: Tensor) -> Any:
        """All that the module answers."""
        if not self.ports:
            return self.module(x)
        parts = [_cut(x, port, span) for port, span in zip(self.ports, spans(self.ports), strict=True)]
        if not self.by_name:
            return self.module(*parts)
        return self.module(**{port.name: part for port, part in zip(self.ports, parts, strict=True)})


def _cut(x: Tensor, port: Port, span: tuple[int, int]) -> Tensor:
    row = x[:, span[0] : span[1]]
    part = row if len(port.shape) == 1 else row.reshape(x.shape[0], *port.shape)
    return part.long() if port.whole else part


def inner(module: nn.Module) -> nn.Module:
    """The user's own module in one that is presented."""
    return module.module if isinstance(module, Presented) else module


# what forward takes


def required(module: nn.Module) -> tuple[str, ...]:
    """The inputs that forward takes and that have no default; the first where it takes any number."""
    return tuple(p.name for p in _parameters(module) if p.default is p.empty)


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    """What forward takes in order, by name."""
    try:
        found = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def named_ports(spec: str, module: nn.Module, given: Ports) -> tuple[Ports, bool]:
    """The ports by the names of what forward takes, and whether they are handed over by name.

    Ports that are called 0, 1, ... are those of a tuple: inputs in order.

    Raises:
        BadInput: forward takes other inputs.
    """
    if not all(port.name.isdecimal() for port in given):
        _check_names(spec, module, given)
        return given, True
    taken, needed = [p.name for p in _parameters(module)], required(module)
    too_many = len(given) > len(taken) and not _any_number(module)
    if too_many or len(needed) > len(given):
        names = taken if too_many else needed
        verb = "takes" if too_many else "needs"
        raise BadInput(f"{spec} {verb} {len(names)} inputs ({', '.join(names)}), the data have {len(given)}")
    called = [*taken, *(f"input_{n}" for n in range(len(taken), len(given)))]
    return tuple(replace(port, name=name) for port, name in zip(given, called, strict=False)), False


def _check_names(spec: str, module: nn.Module, given: Ports) -> None:
    """Raises BadInput where forward takes no input of some name, or needs another one."""
    got, taken = [port.name for port in given], [p.name for p in _parameters(module)]
    strange = [] if _any_name(module) else [name for name in got if name not in taken]
    missing = [name for name in required(module) if name not in got]
    if strange:
        wrong = f"takes no {strange[0]!r}{did_you_mean(strange[0], taken)}"
    elif missing:
        wrong = f"needs {missing[0]!r}"
    else:
        return
    raise BadInput(f"{spec} {wrong}: forward takes {', '.join(taken)}, the data have {', '.join(got)}")


def _any_name(module: nn.Module) -> bool:
    return any(p.kind == p.VAR_KEYWORD for p in inspect.signature(module.forward).parameters.values())


def _any_number(module: nn.Module) -> bool:
    return any(p.kind == p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values())


# which of the answers


def values_in(answer: object) -> dict[Path, Tensor]:
    """Every tensor in an answer, by its place: in tuples, lists, mappings and records."""
    return dict(_values(answer, ()))


def _values(answer: object, place: Path) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(answer, Tensor):
        yield place, answer
        return
    for step in _steps(answer):
        yield from _values(_part(answer, step), (*place, step))


def _steps(answer: Any) -> Sequence[str | int]:
    if isinstance(answer, Mapping):
        return [key for key in answer if isinstance(key, str | int)]
    if isinstance(answer, tuple | list):
        names: Sequence[str] | None = getattr(answer, "_fields", None)
        return range(len(answer)) if names is None else names
    if is_dataclass(answer) and not isinstance(answer, type):
        return [f.name for f in fields(answer)]
    return list(getattr(answer, "__dict__", ()))


def _part(answer: Any, step: str | int) -> Any:
    return answer[step] if isinstance(answer, Mapping | list) or isinstance(step, int) else getattr(answer, step)


def chosen(spec: str, module: nn.Module, answer: object, rows: int, wanted: str | None) -> Path | None:
    """The place of the value in a module's answer that a network is fitted to; None for an answer that has no tensor.

    Args:
        spec: what messages call the module.
        module: that answered.
        answer: to `rows` inputs, a number that is not the size of another axis by chance.
        rows: how many.
        wanted: name or place of the value, where the user said one.

    Raises:
        BadInput: none is obvious, or there is none of this name; lists those that there are.
    """
    found = values_in(answer)
    if wanted is not None:
        return _wanted(spec, found, wanted)
    if isinstance(answer, Tensor):
        return ()
    fit = {place: value for place, value in found.items() if _is_answer(value, rows)}
    if len(fit) == 1:
        return next(iter(fit))
    named = [place for place in fit if place[-1] in CALLED_ANSWERS]
    if len(named) == 1:
        return named[0]
    first = next(iter(fit), None)
    if first is not None and _others_are_auxiliary(module, list(fit.values())):
        return first
    if not fit:
        return None
    raise BadInput(f"{spec} answers with {len(fit)} values: {_listed(fit)}; say which one it is for: --output NAME")


def _is_answer(value: Tensor, rows: int) -> bool:
    return value.is_floating_point() and value.ndim > 0 and len(value) == rows


def _others_are_auxiliary(module: nn.Module, values: Sequence[Tensor]) -> bool:
    """True where the module says that it has auxiliary heads, and all answers are alike."""
    heads = any("aux" in name.lower() for name, _ in inner(module).named_children())
    return heads and len({tuple(v.shape) for v in values}) == 1


def _wanted(spec: str, found: Mapping[Path, Tensor], wanted: str) -> Path:
    names = {_name(place): place for place in found}
    if wanted in names:
        return names[wanted]
    if wanted.isdecimal() and int(wanted) < len(found):
        return list(found)[int(wanted)]
    raise BadInput(f"{spec} has no output {wanted!r}{did_you_mean(wanted, list(names))}; it answers {_listed(found)}")


def _name(place: Path) -> str:
    return ".".join(map(str, place)) or "0"


def _listed(found: Mapping[Path, Tensor]) -> str:
    return ", ".join(f"{_name(place)} {_form(value)}" for place, value in found.items()) or "nothing"


def _form(value: Tensor) -> str:
    sizes = ", ".join(map(str, value.shape[1:])) if value.ndim else ""
    kind = "" if value.is_floating_point() else f" of {str(value.dtype).removeprefix('torch.')}"
    return f"(batch{', ' if sizes else ''}{sizes}){kind}" if value.ndim else f"(){kind}"


def dropped(answer: object, place: Path) -> str:
    """What to say of the values beside the chosen one; empty where there are none."""
    others = [_name(p) for p in values_in(answer) if p != place]
    if not others:
        return ""
    return f"output {_name(place)}; {', '.join(others[:6])}{' ...' if len(others) > 6 else ''} dropped"


PROBED = 5
"""Rows of the call whose answers are looked at: few, and the size of few other axes."""


def with_ports(spec: str, module: nn.Module, ports: Ports) -> nn.Module:
    """The module called with rows of these inputs; itself where there are none.

    Raises:
        BadInput: forward takes other inputs.
    """
    if not ports:
        return module
    named, by_name = named_ports(spec, module, ports)
    return Presented(module, named, by_name).eval()


def with_output(
    spec: str, module: nn.Module, answer: object, shape: tuple[int, ...], wanted: str | None, whole: bool
) -> tuple[nn.Module, str]:
    """The module with one answer, and what to say of what was dropped; itself where it has no other.

    Args:
        spec: what messages call the module.
        module: the user's own, or one with ports.
        answer: to one row of zeros.
        shape: of one input.
        wanted: name or place of the value it is for, where the user said one.
        whole: its input holds whole numbers.

    Raises:
        BadInput: several values of which none is the obvious one.
    """
    if isinstance(answer, Tensor) and wanted in (None, "0"):
        return module, ""
    asked = module if isinstance(module, Presented) else Presented(module)
    x = torch.zeros(PROBED, *shape)
    with torch.no_grad():
        answer = asked.answer(x.long() if whole else x)
    place = chosen(spec, asked, answer, PROBED, wanted)
    if place is None:
        return module, ""
    return Presented(asked.module, asked.ports, asked.by_name, place).eval(), dropped(answer, place)


def alike(module: nn.Module, shape: tuple[int, ...]) -> Ports:
    """A port of this shape for each input that forward needs, where it needs several."""
    names = required(module)
    return tuple(Port(name, shape) for name in names) if len(names) > 1 else ()
