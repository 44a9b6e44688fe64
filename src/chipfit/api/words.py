"""How the words of each option are read, before a configuration is made of them.

A function here takes what was given for one option (text, numbers or a list, as the command line, YAML or Python have
it) and returns plain values, or raises a `BadInput` that names the option, the value, what is allowed and what to do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.ports import Port
from chipfit.core.words import MOST_SHOWN, shown
from chipfit.device.accelerator.named import PREFIX as ACCELERATOR
from chipfit.device.accelerator.named import target
from chipfit.device.registry import ALIASES, DEVICES

MOST_LIMITS, MOST_VALUES = 64, 10**8
"""Limits in one run, and values of one input (0.4 GB as float32)."""
LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes that Linux allows for one part of a path, and for a whole one."""
PREDICTED = "predicted:"

Read = Callable[[object], object]
"""From what was given to what the configuration's field takes."""


def texts_of(option: str, example: str) -> Read:
    """Reads "a,b", or a list of such texts, into a tuple of texts, none of them empty."""
    return partial(_texts, option, example)


def _texts(option: str, example: str, value: object) -> object:
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(v, str) for v in given):
        raise BadInput(f"{option} {shown(value)} is not a list of texts; write it like {option} {example}")
    parts = tuple(part.strip() for v in given for part in v.split(","))
    if "" in parts:
        raise BadInput(f"{option} {shown(_as_given(given))} names nothing; write it like {option} {example}")
    return parts


def limits_of(option: str, example: str) -> Read:
    """Reads limits: texts, a list of them, or a mapping like {"latency_ms": 5}."""
    return partial(_limits, option, example)


def _limits(option: str, example: str, value: object) -> object:
    if isinstance(value, Mapping):
        value = [f"{name}={number}" for name, number in value.items()]
    parts = _texts(option, example, value)
    assert isinstance(parts, tuple)
    if len(parts) > MOST_LIMITS:
        raise BadInput(f"{option} gives {len(parts)} limits; give at most {MOST_LIMITS}")
    for before, part in zip(("", *parts), parts, strict=False):
        if re.fullmatch(r"[0-9]+%?", part) and before and option != "--budgets":
            raise BadInput(
                f"{option} {before},{part}: a comma separates limits; with a decimal point it is {before}.{part}"
            )
    return parts


def budget_shares(value: object) -> object:
    """Reads several budgets; a number alone would leave open whether it is a share or milliseconds."""
    parts = _limits("--budgets", "40%,20%", value)
    assert isinstance(parts, tuple)
    for part in parts:
        if "=" not in part and re.fullmatch(r"[0-9.]+", part):
            raise BadInput(f"--budgets {part} is neither a share nor a limit; write {part}%, or latency_ms={part}")
    if twice := next((p for p in parts if parts.count(p) > 1), None):
        raise BadInput(f"--budgets names {twice} twice; give each budget once")
    return parts


def paths(option: str, *, split: bool = False) -> Read:
    """Reads names of files or models: one, or a list of them; with `split` also "a,b", unless a file is called so."""

    def read(value: object) -> object:
        given = (value,) if isinstance(value, str | Path) else value
        if split and isinstance(given, list | tuple):
            given = [part for v in given for part in _split(v)]
        if not isinstance(given, list | tuple) or not all(isinstance(v, str | Path) for v in given):
            raise BadInput(f"{option} {shown(value)} is not a name or a list of names")
        named = tuple(str(v) for v in given)
        if not all(name.strip() for name in named):
            raise BadInput(f"{option} {shown(_as_given(named))} holds an empty name; give the name of a file or model")
        return named

    return read


def precisions(value: object) -> object:
    """Reads the bits: 32,8 or 32 or 8, each once, the higher first."""
    parts = _parts(value)
    if not parts or not set(parts) <= {"32", "8"}:
        raise BadInput(
            f"--bits {_joined(parts) or repr('')} is not possible; give 32,8 (int8 allowed), 32 (float) or 8 (int8)"
        )
    return tuple(sorted({int(p) for p in parts}, reverse=True))


NO_PROGRAMS, PROGRAMS = "none", ("none", "known", "evolved")
"""What is not asked for, and all that can be: which programs of operators may compute layers."""


def programs(value: object) -> object:
    """Reads which programs may compute layers; false and true stand for none and those that are known.

    >>> programs(True), programs("evolved")
    ('known', 'evolved')
    """
    if isinstance(value, bool):
        return PROGRAMS[value]
    if value not in PROGRAMS:
        text = str(value)
        raise BadInput(f"--programs {text} is not known; give none, known or evolved{did_you_mean(text, PROGRAMS)}")
    return value


def shape(value: object) -> object:
    """Reads (1, 28, 28) from "1,28,28", from "1x28x28", from a number or from a list."""
    if value is None:
        return None
    parts = _parts(value.replace("x", ",") if isinstance(value, str) else value)
    if not parts or not all(re.fullmatch(r"0*[1-9][0-9]{0,11}", p) for p in parts):
        said = value if isinstance(value, str) and value.strip() else _joined(parts) or repr("")
        raise BadInput(f"--input-shape {said} is not a shape; write C,H,W like 1,28,28, or FEATURES")
    dims = tuple(int(p) for p in parts)
    if math.prod(dims) > MOST_VALUES:
        raise BadInput(
            f"--input-shape {_joined(parts)} has {math.prod(dims):.3g} values; give at most {MOST_VALUES:.0e} in all"
        )
    return dims


def ports(value: object) -> object:
    """Reads inputs by name: "image=3,32,32 ids=24:int", a list of such, or a mapping of shapes."""
    if isinstance(value, Mapping):
        value = [f"{name}={','.join(_parts(form))}" for name, form in value.items()]
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(v, str) for v in given):
        raise BadInput(f"--inputs {shown(value)} is no list of inputs; write --inputs image=3,32,32 ids=24:int")
    texts = tuple(text for v in given for text in v.split())
    names = [port(text).name for text in texts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"--inputs names {twice!r} twice; give each input once")
    return texts


def port(text: str) -> Port:
    """The input that a text names.

    Raises:
        BadInput: another form.
    """
    name, said, form = text.partition("=")
    dims, _, kind = form.partition(":")
    if not (said and name.strip().isidentifier()) or kind not in ("", "int", "float"):
        raise BadInput(f"--inputs {shown(text)} is no input; write image=3,32,32, or ids=24:int for whole numbers")
    found = shape(dims)
    assert isinstance(found, tuple)
    return Port(name.strip(), found, kind == "int")


def _parts(value: object) -> tuple[str, ...]:
    """The parts of "a,b", of a list, or of one number, each as text."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(str(part) for part in value) if isinstance(value, Sequence) else (str(value),)


def _joined(parts: Sequence[str]) -> str:
    """The parts as they would be written, cut where there are many."""
    text = ",".join(parts)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def devices(value: object) -> object:
    """Reads names of devices, which are known, or predicted."""
    if not isinstance(value, str):
        raise BadInput(f"--device {shown(value)} is not a name; give one or several as A,B: {', '.join(DEVICES)}")
    for name in value.split(","):
        check_device(name.strip())
    return value


def check_device(name: str) -> None:
    """Raises BadInput for a name that no device has; proposes the closest."""
    known = [*DEVICES, *ALIASES]
    if not name:
        raise BadInput(f"--device names no device; give one of {', '.join(known)}, or several as A,B")
    if name.startswith(PREDICTED):
        if name == PREDICTED:
            raise BadInput(f"--device {PREDICTED} names no predictor; write predicted:NAME; see chipfit devices")
    elif name.startswith(ACCELERATOR):
        target(name)
    elif name not in known:
        known.append(f"{ACCELERATOR}PART")
        raise BadInput(f"device {shown(name)} is unknown{did_you_mean(name, known)}; known: {', '.join(known)}")


def place(value: object) -> object:
    """Reads the run directory: a path that a file system can hold."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise BadInput(f"--out {shown(value)} is not a directory's name; give one like runs/first")
    longest = max((len(part.encode()) for part in value.split("/")), default=0)
    if longest > LONGEST_NAME or len(value.encode()) > LONGEST_PATH:
        raise BadInput(
            f"--out {shown(value)} has a name of {longest} bytes; file systems take {LONGEST_NAME}, give a shorter one"
        )
    return value


def _split(name: object) -> Sequence[object]:
    if isinstance(name, str) and "," in name and not Path(name).expanduser().exists():
        return [part.strip() for part in name.split(",")]
    return [name]


def _as_given(values: object) -> object:
    """A list of one as that one: how it was written on the command line."""
    return values[0] if isinstance(values, list | tuple) and len(values) == 1 else values
