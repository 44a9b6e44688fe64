"""The flags, grouped. Their help is that of the configuration's fields, so that it is written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from chipfit.api import config_file
from chipfit.api.config import Config
from chipfit.core.errors import BadInput

Flag = Annotated[bool, Parameter(negative=())]
Texts = tuple[str, ...]


def said(name: str, metavar: str | None = None) -> Parameter:
    """A parameter with the description of a configuration's field.

    Its value is taken as text, whatever it begins with (-1 too), and read by the configuration: with one set of
    messages for the command line, files and Python.
    """
    return Parameter(help=Config.model_fields[name].description, metavar=metavar, allow_leading_hyphen=True)


def number(help: str, metavar: str = "N") -> Parameter:
    """A parameter of a verb of its own, taken as text like the others and read by `core.words`."""
    return Parameter(help=help, metavar=metavar, allow_leading_hyphen=True)


@Parameter(name="*", group=Group("Every verb", sort_key=9))
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every verb takes."""

    json: Annotated[bool, Parameter(help="one JSON document on stdout")] = False
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), help="no progress")] = False
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), help="warnings, and tracebacks of errors")] = False
    seed: Annotated[str | None, said("seed", "N")] = None

    @property
    def rng_seed(self) -> int:
        """The seed of a verb that takes no configuration, 0 by default."""
        return Config.of({"seed": self.seed}).seed


@Parameter(name="*", group=Group("Model and device", sort_key=3))
@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """How networks are read, and for which device."""

    device: Annotated[str | None, said("device", "NAME")] = None
    weights: Annotated[Texts | None, said("weights", "FILE")] = None
    input_shape: Annotated[str | None, said("input_shape", "C,H,W")] = None
    inputs: Annotated[
        Texts | None, said("inputs", "NAME=SHAPE"), Parameter(consume_multiple=True, allow_leading_hyphen=False)
    ] = None
    output: Annotated[str | None, said("output", "NAME|PLACE")] = None


@Parameter(name="*", group=Group("Budget", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a result must hold."""

    max: Annotated[Texts | None, said("max", "METRIC=LIMIT")] = None
    budgets: Annotated[Texts | None, said("budgets", "40%,20%")] = None


@Parameter(name="*", group=Group("What may change", sort_key=4))
@dataclass(frozen=True, slots=True, kw_only=True)
class Freedom:
    """What the search may touch."""

    bits: Annotated[str | None, said("bits", "32,8")] = None
    keep: Annotated[Texts | None, said("keep", "LAYER")] = None
    exclude: Annotated[Texts | None, said("exclude", "LAYER")] = None
    programs: Annotated[str | None, said("programs", "none|known|evolved")] = None
    no_programs: Annotated[bool, Parameter(help="layers are computed as they are: --programs none")] = False


@Parameter(name="*", group=Group("Data, goal, effort", sort_key=2))
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What only a fit takes."""

    data: Annotated[str | None, said("data", "DATA")] = None
    resize: Annotated[str | None, said("resize", "HxW")] = None
    normalize: Annotated[str | None, said("normalize", "MEAN,STD")] = None
    min: Annotated[Texts | None, said("min", "accuracy=LIMIT")] = None
    task: Annotated[str | None, said("task", "TASK")] = None
    maximize: Annotated[str | None, said("maximize", "METRIC")] = None
    minimize: Annotated[str | None, said("minimize", "METRIC")] = None
    time: Annotated[str | None, said("time", "10m")] = None
    profile_time: Annotated[str | None, said("profile_time", "2m")] = None
    epochs: Annotated[str | None, said("epochs", "N")] = None
    no_train: Annotated[bool, Parameter(help="post-training only, for which unlabelled data will do")] = False
    no_baselines: Annotated[bool, Parameter(help="leave out the baselines under the same budgets")] = False
    starts: Annotated[str | None, said("starts", "N")] = None
    finalists: Annotated[str | None, said("finalists", "N")] = None
    one_model: Annotated[Flag | None, said("one_model")] = None
    accelerator: Annotated[str | None, said("accelerator", "auto|cpu|cuda")] = None
    out: Annotated[str | None, said("out", "DIR")] = None


Flags = Common | Networks | Limits | Freedom | Effort
_FLAGS: Mapping[str, tuple[str, Any]] = {
    "no_train": ("train", False), "no_baselines": ("baselines", False), "no_programs": ("programs", "none"),
}  # fmt: skip
"""Flags that stand for a field of the configuration with another value."""
_SHOWN = ("json", "quiet", "verbose")


def given(models: Texts, *groups: Flags) -> dict[str, Any]:
    """What was said on the command line, by the configuration's names.

    Raises:
        BadInput: an option and the flag that stands for another value of it.
    """
    values: dict[str, Any] = {"models": models} if models else {}
    for group in groups:
        for f in fields(group):
            value = getattr(group, f.name)
            if f.name in _FLAGS:
                if value:
                    name, meant = _FLAGS[f.name]
                    if values.setdefault(name, meant) != meant:
                        raise BadInput(
                            f"--{name} {values[name]} and --no-{name} contradict each other; give one of them"
                        )
            elif f.name not in _SHOWN and value is not None:
                values[f.name] = value
    return values


def configured(models: Texts, file: Path | None, *groups: Flags) -> Config:
    """The configuration of a file and the command line, which comes first.

    Where neither a model nor a file is named, `chipfit.yaml` in this folder is read if it is there.

    Raises:
        BadInput: see `Config.of` and `config_file.read`.
    """
    here = Path(config_file.NAME)
    if file is None and not models and here.is_file():
        file = here
    stored = config_file.read(file) if file is not None else {}
    return Config.of({**stored, **given(models, *groups)})
