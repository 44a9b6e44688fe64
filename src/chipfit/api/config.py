"""One flat set of options: what the command line, a `chipfit.yaml` and the Python functions all say a run with.

Every value is checked when it is given, and an error is one line that names it, what is allowed and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chipfit.core.deadline import parse_duration
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.types import METRICS, Limit, Plain, metric
from chipfit.data.options import parse_normalize, parse_resize

COSTS = ("latency_ms", "size_mb", "macs", "params", "bops")
"""Metrics that can be limited from above today."""
LADDER = ("70%", "50%", "35%", "25%")
"""Budgets tried by `minimize` where none are given: shares of the reference."""
FILE = "chipfit.yaml"


def _texts(value: object) -> object:
    """A list of texts from "a,b", "a" or a list."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _one_or_many(value: object) -> object:
    """A list from one text (which may hold commas) or a list."""
    return (value,) if isinstance(value, str | Path) else value


def _paths(value: object) -> object:
    found = _one_or_many(value)
    return tuple(str(p) if isinstance(p, Path) else p for p in found) if isinstance(found, Sequence) else found


def _limits(value: object) -> object:
    """["latency_ms=5"] from that, from "latency_ms=5,size_mb=2" or from {"latency_ms": 5}."""
    if isinstance(value, Mapping):
        return tuple(f"{name}={number}" for name, number in value.items())
    return _texts(value)


def _numbers(value: object) -> object:
    """[1, 28, 28] from "1,28,28" or "1x28x28"."""
    return _texts(value.replace("x", ",")) if isinstance(value, str) else value


def _text(value: object) -> object:
    """Text from a number or a list of numbers, as YAML gives them."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _costs(limits: tuple[str, ...]) -> tuple[str, ...]:
    for text in limits:
        name = Limit.parse(text).metric
        if METRICS[name][1]:
            raise BadInput(f"--max {text}: of {name} more is better; write --min {text}")
        if name not in COSTS:
            raise BadInput(f"--max {text}: {name} cannot be limited today; what can: {', '.join(COSTS)}")
    return _distinct("--max", limits)


def _goods(limits: tuple[str, ...]) -> tuple[str, ...]:
    for text in limits:
        limit = Limit.parse(text, at_least=True)
        if not METRICS[limit.metric][1]:
            raise BadInput(f"--min {text}: of {limit.metric} less is better; write --max {text}")
        if limit.value > 1:
            raise BadInput(f"--min {text}: accuracy is a share of 1; write --min accuracy=0.9, or 99% of the reference's")
    return _distinct("--min", limits)


def _distinct(option: str, limits: tuple[str, ...]) -> tuple[str, ...]:
    names = [Limit.parse(t).metric for t in limits]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{option} limits {name} twice; give it once, or several budgets as --budgets 40%,20%")
    return limits


def _budgets(budgets: tuple[str, ...]) -> tuple[str, ...]:
    for text in budgets:
        _costs((str(_budget(text)[0]),))
    return budgets


def _budget(text: str, default: str = "latency_ms") -> tuple[str, Limit]:
    """("latency_ms=40%", its limit) of "40%"."""
    whole = text if "=" in text else f"{default}={text}"
    return whole, Limit.parse(whole)


def _bits(bits: tuple[int, ...]) -> tuple[int, ...]:
    if not set(bits) <= {32, 8} or 32 not in bits:
        raise BadInput(f"--bits {','.join(map(str, bits))} is not possible; give 32,8 (int8 allowed) or 32 (float only)")
    return tuple(sorted(set(bits), reverse=True))


def _shape(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if shape is not None and (len(shape) not in (1, 3) or min(shape) < 1):
        raise BadInput(f"--input-shape {','.join(map(str, shape))} is no shape; write C,H,W like 1,28,28, or FEATURES")
    return shape


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A text that `parse` accepts, unchanged."""

    def check(text: str) -> str:
        parse(text)
        return text

    return check


def _optional(check: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None else check(_text(value)))


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_paths)]


class Config(BaseModel):
    """Everything that a fit can be told. The fields' descriptions are the command line's help."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    models: Paths = Field((), description="zoo:fashion-mnist, zoo:fashion-mnist/resnet8 or FILE.py:FUNCTION; several are a hot-start zoo")
    weights: Paths = Field((), description="a .safetensors, .pt or .pth file for each FILE.py:FUNCTION, in order")
    data: str | None = Field(None, description="fashion-mnist, digits, a folder or zip of class folders, or FILE.py:FUNCTION")
    device: str = Field("local", description="what to fit to; 'chipfit devices' lists them")
    max: Annotated[tuple[str, ...], BeforeValidator(_limits)] = Field((), description=f"upper limit, METRIC=VALUE or METRIC=SHARE% of the reference; metrics: {', '.join(COSTS)}")
    min: Annotated[tuple[str, ...], BeforeValidator(_limits)] = Field((), description="lower limit: accuracy=0.9, or accuracy=99% of the reference")
    maximize: str | None = Field(None, description="what is made as large as the limits allow: accuracy (the default)")
    minimize: str | None = Field(None, description="what is made as small as --min accuracy allows, e.g. latency_ms")
    budgets: Texts = Field((), description="several budgets in one run, e.g. 40%,20% (of the reference's latency) or size_mb=50%,size_mb=25%")
    time: str = Field("10m", description="time for the whole run: 90s, 10m, 1h30m")
    epochs: float | None = Field(None, description="length of the fine-tune; without it the time that is left")
    train: bool = Field(True, description="false: post-training only; labels are not needed")
    bits: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = Field((32, 8), description="precisions that may be used: 32,8 or 32")
    keep: Texts = Field((), description="layers, or prefixes of their names, that stay as they are")
    exclude: Texts = Field((), description="the same, under the name that other pruners use")
    input_shape: Annotated[tuple[int, ...] | None, BeforeValidator(_numbers)] = Field(None, description="C,H,W of one input; without it that of the data")
    resize: str | None = Field(None, description="HEIGHTxWIDTH to which pictures are resized")
    normalize: str | None = Field(None, description="MEAN,STD (by channel: a/b/c,d/e/f); without it computed from the data")
    seed: int = Field(0, ge=0, description="of everything random")
    out: str | None = Field(None, description="run directory; without it runs/MODEL-HASH, a new one for each set of options")
    starts: int = Field(3, ge=1, description="number of models whose designs are searched")
    finalists: int = Field(2, ge=1, description="number of designs fine-tuned for each budget")
    baselines: bool = Field(True, description="make all-int8 and uniform-width baselines under the same budgets")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of these options; None stands for "not given".

        Raises:
            BadInput: an unknown option, a value that cannot be used, or options that contradict each other.
        """
        try:
            made = cls(**{k: v for k, v in values.items() if v is not None})
        except ValidationError as e:
            raise BadInput(_told(e, cls.model_fields)) from e
        return made._checked()

    def _checked(self) -> Self:
        """The same with the values checked that pydantic knows nothing of."""
        checked = {
            "max": _costs(self.max), "min": _goods(self.min), "budgets": _budgets(self.budgets),
            "bits": _bits(self.bits), "input_shape": _shape(self.input_shape),
        }  # fmt: skip
        parse_duration(self.time)
        if self.resize is not None:
            parse_resize(self.resize)
        if self.normalize is not None:
            parse_normalize(self.normalize)
        if self.epochs is not None and not (math.isfinite(self.epochs) and self.epochs > 0):
            raise BadInput(f"--epochs {self.epochs:g} is not above zero; give a number like 4, or --no-train")
        self._objective()
        return self.model_copy(update=checked)
