"""One flat set of options: what the command line, a `chipfit.yaml` and the Python functions all say a run with.

Every value is checked when it is given, and an error is one line that names it, what is allowed and what to do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from chipfit.api import words as read
from chipfit.api.limits import COSTS, check_limits, check_objective, name_of, of_quality, on_hardware
from chipfit.api.words import NO_PROGRAMS
from chipfit.core import words
from chipfit.core.deadline import UNLIMITED, parse_duration
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.ports import Ends
from chipfit.core.task import TASKS, task_named
from chipfit.core.types import ACCELERATORS, Limit, Plain
from chipfit.core.user_code import names_code
from chipfit.data.options import parse_normalize, parse_resize
from chipfit.device.accelerator.named import PREFIX as ACCELERATOR
from chipfit.device.accelerator.named import RESOURCES, limited_name
from chipfit.device.registry import ALIASES
from chipfit.store.plain import dumps

LADDER = ("70%", "50%", "35%", "25%")
"""Budgets that `minimize` tries where none are given: shares of the reference."""

PUBLISHED = "published:"
"""How the names of networks without weights begin."""
Budget = tuple[Limit, ...]


def _text(value: object) -> object:
    """Text from a number or a list of numbers, as YAML reads them."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Texts = tuple[str, ...]
Text = Annotated[str, BeforeValidator(_text)]
MOST_SEED, MOST_EPOCHS, MOST_DESIGNS = 2**31 - 1, 1e4, 1000


def _whole(option: str, least: int, most: int) -> BeforeValidator:
    return BeforeValidator(lambda value: words.whole(option, value, least, most))


def _epochs(value: object) -> float | None:
    return None if value is None else words.real("--epochs", value, 0, MOST_EPOCHS, ", or --no-train")


def _said(default: object, description: str) -> Any:
    return Field(default, description=description)


class Config(BaseModel):
    """Everything that a fit can be told. The fields' descriptions are the command line's help.

    >>> Config.of({"models": "zoo:fashion-mnist", "budgets": "40%,20%"}).budget_sets[1]
    (Limit(metric='latency_ms', value=0.2, relative=True, at_least=False),)
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        title="chipfit.yaml",
        json_schema_extra={"description": "What chipfit fit is told."},
    )

    models: Annotated[Texts, BeforeValidator(read.paths("a model"))] = _said(
        (),
        "zoo:fashion-mnist, zoo:fashion-mnist/resnet8, FILE.py:FUNCTION, timm:NAME, torchvision:NAME, hf:NAME_OR_FOLDER"
        " or FILE.pt2; several for one task are a hot-start zoo",
    )
    weights: Annotated[Texts, BeforeValidator(read.paths("--weights", split=True))] = _said(
        (),
        "a .safetensors, .pt, .pth, .ckpt or .bin file for each FILE.py:FUNCTION and each model of a library, in order",
    )
    data: str | None = _said(None, "fashion-mnist, digits, a folder or zip of class folders, or FILE.py:FUNCTION")
    device: Annotated[str, BeforeValidator(read.devices)] = _said(
        "local", "what to work for; fit takes several as A,B, a run for each; 'chipfit devices' lists them"
    )
    one_model: bool = _said(False, "with several devices: one model that holds the budget on all of them")
    max: Annotated[Texts, BeforeValidator(read.limits_of("--max", "latency_ms=60%"))] = _said(
        (),
        f"METRIC=VALUE or METRIC=SHARE% of the reference, an upper limit; {', '.join(COSTS)}; of an accelerator also"
        f" what it may use of its part: {', '.join(RESOURCES)}",
    )
    min: Annotated[Texts, BeforeValidator(read.limits_of("--min", "accuracy=0.9"))] = _said(
        (), "accuracy=0.9 or accuracy=99% of the reference, a lower limit; of another task its own metric, as f1 or iou"
    )
    task: str | None = _said(
        None, f"what the model is for: {', '.join(TASKS)}; without it seen in the targets beside the model's answers"
    )
    maximize: str | None = _said(
        None, "what is made as large as the limits allow: accuracy, which it is anyway, or another metric of the task"
    )
    minimize: str | None = _said(
        None, "what is made as small as --min accuracy=... allows, such as latency_ms; or an error as the task's metric"
    )
    budgets: Annotated[Texts, BeforeValidator(read.budget_shares)] = _said(
        (), "several budgets in one run: 40%,20% of the reference's latency, or size_mb=50%,size_mb=25%"
    )
    time: Text = _said("10m", "for the whole run: 90s, 10m, 1h30m, or none; with --epochs none unless it is given")
    profile_time: Text | None = _said(
        None,
        "for pricing and scoring what may change of one model, which large networks are done justice to more or"
        " less quickly: 60s, 5m, or none; without it a fifth of --time",
    )
    epochs: Annotated[float | None, BeforeValidator(_epochs)] = _said(
        None, "length of the fine-tune; without it the time that is left"
    )
    train: bool = _said(True, "false: post-training only, for which unlabelled data will do")
    bits: Annotated[tuple[int, ...], BeforeValidator(read.precisions)] = _said(
        (32, 8), "precisions to use: 32,8 or 32 or 8"
    )
    programs: Annotated[str, BeforeValidator(read.programs)] = _said(
        NO_PROGRAMS,
        "what may compute layers in their place, where the device profits: none, known (programs that ship, or were"
        " good here before) or evolved (others are searched for, for what is slowest on the device)",
    )
    keep: Annotated[Texts, BeforeValidator(read.texts_of("--keep", "LAYER"))] = _said(
        (), "layers, or beginnings of their names, that stay as they are"
    )
    exclude: Annotated[Texts, BeforeValidator(read.texts_of("--exclude", "LAYER"))] = _said(
        (), "the same as keep, by the word that other pruners use"
    )
    input_shape: Annotated[tuple[int, ...] | None, BeforeValidator(read.shape)] = _said(
        None, "C,H,W of one input; without it that of the data. Of an ONNX file the input whose dimensions are open"
    )
    inputs: Annotated[Texts, BeforeValidator(read.ports)] = _said(
        (),
        "NAME=SHAPE of each input of a model that takes several, where the data do not say it: image=3,32,32, or"
        " ids=24:int for whole numbers",
    )
    output: Annotated[str | None, BeforeValidator(_text)] = _said(
        None, "name or place of the value that is fitted, of a model that answers with several"
    )
    resize: Annotated[str | None, BeforeValidator(_text)] = _said(None, "HEIGHTxWIDTH that pictures are resized to")
    normalize: Annotated[str | None, BeforeValidator(_text)] = _said(
        None, "MEAN,STD of pixels scaled to 0..1, by channel like a/b/c,d/e/f; without it computed from the data"
    )
    accelerator: str = _said(
        "auto", "where training, damage and repair compute: auto (a GPU where there is one), cpu or cuda"
    )
    seed: Annotated[int, _whole("--seed", 0, MOST_SEED)] = _said(0, "of all that is random")
    out: Annotated[str | None, BeforeValidator(read.place)] = _said(
        None, "run directory; without it runs/MODEL-HASH, another one for other options"
    )
    starts: Annotated[int, _whole("--starts", 1, MOST_DESIGNS)] = _said(
        3, "number of models whose designs are searched"
    )
    finalists: Annotated[int, _whole("--finalists", 1, MOST_DESIGNS)] = _said(
        1, "number of designs fine-tuned at full length for each budget"
    )
    baselines: bool = _said(True, "make the all-int8 and uniform-width baselines under the same budgets")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of these options; None stands for one that was not given.

        Raises:
            BadInput: an unknown option, a value that cannot be used, or options that contradict each other.
        """
        try:
            return cls(**{k: v for k, v in values.items() if v is not None})
        except ValidationError as e:
            raise BadInput(_told(e.errors()[0])) from e

    @model_validator(mode="before")
    @classmethod
    def _uncut(cls, values: Any) -> Any:
        """Epochs that were asked for are not cut by a time that nobody gave."""
        if isinstance(values, Mapping) and values.get("epochs") is not None and "time" not in values:
            return {**values, "time": UNLIMITED}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        """What pydantic knows nothing of. A BadInput passes through it as it is."""
        check_limits(self)
        check_objective(self)
        for duration in filter(None, (self.time, self.profile_time)):
            parse_duration(duration)
        if self.resize is not None:
            parse_resize(self.resize)
        if self.normalize is not None:
            parse_normalize(self.normalize)
        shape = self.input_shape
        any_length = set(self.models) == set(self.files)
        if shape is not None and not (len(shape) <= 4 or any_length):
            raise BadInput(f"--input-shape {_joined(shape)} is not a shape; write C,H,W like 1,28,28, or FEATURES")
        if self.inputs and shape is not None:
            raise BadInput(
                "--inputs names the shape of each input, --input-shape that of a single one; give one of them"
            )
        if self.accelerator not in ACCELERATORS:
            meant = did_you_mean(self.accelerator, ACCELERATORS)
            raise BadInput(f"--accelerator {words.shown(self.accelerator)} is not known; give auto, cpu or cuda{meant}")
        if self.epochs is not None and not self.train:
            raise BadInput(f"--epochs {self.epochs:g} and --no-train exclude each other; give one of the two")
        if self.task is not None:
            task_named(self.task)
        if self.data is not None and not self.data.strip():
            raise BadInput("--data names nothing; give fashion-mnist, digits, a folder or zip of class folders")
        return self

    @property
    def ends(self) -> Ends:
        """What the models take and give, where that is several values."""
        return Ends(tuple(read.port(text) for text in self.inputs), self.output)

    @property
    def files(self) -> tuple[str, ...]:
        """The models that are ONNX files."""
        return tuple(m for m in self.models if Path(m).suffix == ".onnx")

    @property
    def budget_sets(self) -> tuple[Budget, ...]:
        """The budgets, each a set of upper limits held at once: those of `budgets` in turn joined with those of `max`.

        Raises:
            BadInput: nothing limits anything.
        """
        always = self.limits
        ladder = tuple(Limit.parse(text) for text in self.ladder)
        if not always and not ladder:
            raise BadInput("no budget was given; give --max latency_ms=5, --max latency_ms=60%, or --budgets 40%,20%")
        return tuple((limit, *always) for limit in ladder) or (always,)

    @property
    def weightless(self) -> bool:
        """True where the models are published networks, which are known without their weights.

        Raises:
            BadInput: some are, and others have weights.
        """
        without = [m for m in self.models if m.startswith(PUBLISHED)]
        if without and len(without) < len(self.models):
            raise BadInput(f"{without[0]} has no weights and other models do; give one or the other kind")
        if without and self.data is not None:
            raise BadInput(f"{without[0]} has no weights to score on --data {self.data}; leave it out")
        return bool(without)

    @property
    def limits(self) -> Budget:
        """The upper limits of `max` on what a network costs."""
        return tuple(Limit.parse(t) for t in self.max if not (on_hardware(t) or of_quality(name_of(t))))

    @property
    def resources(self) -> tuple[str, ...]:
        """The limits of `max` on what an accelerator may use of its part."""
        return tuple(text for text in self.max if on_hardware(text))

    @property
    def ladder(self) -> tuple[str, ...]:
        """`budgets` with the metric written out; the default ladder for `minimize`."""
        metric_of = self.minimized or "latency_ms"
        given = self.budgets or (
            LADDER if self.minimized and not any(name_of(t) == self.minimized for t in self.max) else ()
        )
        return tuple(text if "=" in text else f"{metric_of}={text}" for text in given)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices by name, each once; accelerators within the limits on their resources."""
        names = (ALIASES.get(name.strip(), name.strip()) for name in self.device.split(","))
        within = (limited_name(n, self.resources) if n.startswith(ACCELERATOR) else n for n in names if n)
        return tuple(dict.fromkeys(within))

    @property
    def floor(self) -> Limit | None:
        """The quality that a result must reach: at least so much of it, or at most so large an error."""
        if self.min:
            return Limit.parse(self.min[0], at_least=True, own=True)
        errors = [text for text in self.max if not on_hardware(text) and of_quality(name_of(text))]
        return Limit.parse(errors[0], own=True) if errors else None

    @property
    def judged(self) -> str | None:
        """The metric of the task that quality is to be measured in, where one was named."""
        named = self.maximize or (self.minimize if self.minimized is None else None)
        return named or (self.floor.metric if self.floor is not None else None)

    @property
    def minimized(self) -> str | None:
        """The cost that is made as small as the floor of quality allows."""
        return self.minimize if self.minimize in COSTS else None

    @property
    def steps_down(self) -> bool:
        """True where the budgets are steps of chipfit's own towards the least of what is minimised."""
        return self.minimized is not None and self.ladder == tuple(f"{self.minimized}={share}" for share in LADDER)

    @property
    def own_metrics(self) -> bool:
        """True where the data may bring a metric of the user's own."""
        return self.data is not None and (names_code(self.data) or self.data.startswith("object:"))

    @property
    def kept(self) -> tuple[str, ...]:
        """Layers to leave alone, by either word."""
        return (*self.keep, *self.exclude)

    def plain(self) -> dict[str, Plain]:
        """What makes two runs the same one: all but the directory, as JSON-ready values."""
        # what runs were stored without is left out where it was not given
        unsaid = {name for name in ("task", "profile_time", "inputs", "output") if not getattr(self, name)}
        unsaid |= {"programs"} if self.programs == NO_PROGRAMS else set()
        return self.model_dump(mode="json", exclude={"out"} | unsaid)

    @property
    def directory(self) -> Path:
        """`out`, or a name of the first model with a hash of all options: the same options find the same run."""
        if self.out is not None:
            return Path(self.out).expanduser()
        mark = hashlib.sha256(dumps(self.plain()).encode()).hexdigest()[:6]
        first = (
            re.sub(r"[^a-z0-9]+", "-", self.models[0].lower().removeprefix("zoo:")).strip("-") if self.models else "run"
        )
        return Path("runs") / f"{first}-{mark}"

    def changed(self, **values: Any) -> Self:
        """The same with these options replaced, and checked again."""
        return type(self).of({**self.model_dump(), **values})

    def with_budget(self, limits: Sequence[str], budgets: Sequence[str]) -> Self:
        """The same with other budgets: a new limit takes the place of the old ones on its metric."""
        new = Config.of({"max": tuple(limits), "budgets": tuple(budgets)})
        named = {name_of(t) for t in (*new.max, *new.ladder)}
        always = (*(t for t in self.max if name_of(t) not in named), *new.max)
        ladder = new.budgets or tuple(t for t in self.ladder if name_of(t) not in named)
        return self.changed(max=always, budgets=ladder)


def _joined(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


def _told(error: ErrorDetails) -> str:
    """The first thing that pydantic found, in one line."""
    name = str(error["loc"][0]) if error["loc"] else "options"
    known = list(Config.model_fields)
    if error["type"] == "extra_forbidden":
        return f"option {name!r} is unknown{did_you_mean(name, known)}; known: {', '.join(known)}"
    reason = " ".join(error["msg"].split())
    return f"option {name}={words.shown(error['input'])} cannot be used: {reason[0].lower()}{reason[1:]}"
