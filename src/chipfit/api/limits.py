"""Which limits and objectives a configuration may hold together: costs, hardware, and what answers are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.metric import KNOWN
from chipfit.core.types import METRICS, Limit, metric
from chipfit.device.accelerator.named import PREFIX as ACCELERATOR
from chipfit.device.accelerator.named import RESOURCES, target

if TYPE_CHECKING:
    from chipfit.api.config import Config

COSTS = ("latency_ms", "size_mb", "macs", "params")
"""Metrics that can be limited from above today."""


def on_hardware(limit: str) -> bool:
    """True for a limit on a resource of an accelerator, such as dsp=1200."""
    return limit.partition("=")[0].strip() in RESOURCES


def name_of(limit: str) -> str:
    """What is limited: a metric, which may be one of the user's, or a resource of an accelerator.

    Raises:
        BadInput: neither, or a number that is no limit.
    """
    name, equals, _ = (part.strip() for part in limit.partition("="))
    if equals and not name.isidentifier():
        raise _unknown(name)
    return name if name in RESOURCES else Limit.parse(limit, own=True).metric


def _unknown(name: str) -> BadInput:
    meant = did_you_mean(name, (*METRICS, *RESOURCES))
    return BadInput(
        f"metric {name!r} is unknown{meant}; known: {', '.join(METRICS)}; of an accelerator: {', '.join(RESOURCES)}"
    )


def of_quality(name: str) -> bool:
    """True for what answers are judged by, the user's own included."""
    return name in KNOWN or name not in METRICS


def _checked_metric(name: str, c: Config) -> str:
    """The name itself, where it is a metric or may be one of the user's.

    Raises:
        BadInput: neither; proposes the closest.
    """
    return name if c.own_metrics and name.isidentifier() else metric(name)


def check_limits(c: Config) -> None:
    """Raises BadInput for limits on what has none, on the wrong side, or given twice."""
    _check_resources(c)
    _check_upper(c)
    for text in c.min:
        _check_lower(text, c)
    _check_once(c)


def _check_upper(c: Config) -> None:
    """Upper limits are those of costs, of hardware, or one of an error; budgets are of costs."""
    for text in (*c.max, *c.ladder):
        name = name_of(text)
        if name in RESOURCES:
            continue
        if name not in METRICS and not c.own_metrics:
            raise _unknown(name)
        if METRICS.get(name, ("", False))[1]:
            raise BadInput(f"--max {text}: of {name} more is better; write --min {text}")
        if name not in COSTS and not of_quality(name):
            raise BadInput(f"--max {text}: {name} cannot be limited today; these can: {', '.join(COSTS)}")
    if wrong := next((text for text in c.ladder if name_of(text) not in COSTS), None):
        raise BadInput(f"--budgets {wrong}: {name_of(wrong)} is no cost; give --max {wrong}, and a budget of a cost")


def _check_lower(text: str, c: Config) -> None:
    """A lower limit is one of what more is better of, a share of 1 at most where it is a share."""
    limit = Limit.parse(text, at_least=True, own=c.own_metrics)
    if not METRICS.get(limit.metric, ("", True))[1]:
        raise BadInput(f"--min {text}: of {limit.metric} less is better; write --max {text}")
    if limit.metric in KNOWN and KNOWN[limit.metric].share and limit.value > 1:
        raise BadInput(
            f"--min {text} is beyond all answers right; write accuracy=0.9, or accuracy=99% of the reference"
        )


def _check_once(c: Config) -> None:
    """Each metric is limited once, and quality by one metric."""
    for option, names in (("--max", [name_of(t) for t in c.max]), ("--min", [name_of(t) for t in c.min])):
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise BadInput(f"{option} limits {twice} twice; give it once, or several budgets as --budgets 40%,20%")
    floors = [*c.min, *(t for t in c.max if not on_hardware(t) and of_quality(name_of(t)))]
    if len(floors) > 1:
        raise BadInput(f"quality is limited by {' and by '.join(floors)}; give one metric and one limit on it")
    both = {name_of(t) for t in c.max} & {name_of(t) for t in c.ladder}
    if both:
        raise BadInput(f"{both.pop()} is limited by --max and by --budgets; give one of the two")


def _check_resources(c: Config) -> None:
    """Limits on hardware are those of an accelerator, one value each."""
    accelerators = [name for name in c.devices if name.startswith(ACCELERATOR)]
    if c.resources and c.models and not accelerators:
        raise BadInput(
            f"--max {c.resources[0]} limits the hardware of an accelerator, and --device {c.device} is none; give"
            f" --device {ACCELERATOR}zcu102, or leave it out"
        )
    if many := next((text for text in c.budgets if on_hardware(text)), None):
        raise BadInput(f"--budgets {many} limits hardware, which is the same for all budgets; write --max {many}")
    for name in accelerators:
        target(name)


def check_objective(c: Config) -> None:
    """Raises BadInput for an objective that is none, or that contradicts the limits."""
    if c.maximize is not None and not _may_grow(_checked_metric(c.maximize, c)):
        raise BadInput(f"--maximize {c.maximize} is not possible; give accuracy, or --minimize {c.maximize}")
    for option, name in (("maximize", c.maximize), ("minimize", c.minimize if c.minimized is None else None)):
        if name is not None and c.floor is not None and c.floor.metric != name:
            raise BadInput(f"--{option} {name} and a limit on {c.floor.metric} exclude each other; give one metric")
    if c.minimize is None:
        return
    grows = METRICS.get(_checked_metric(c.minimize, c), ("", False))[1]
    if c.minimized is None and (grows or not of_quality(c.minimize)):
        raise BadInput(f"--minimize {c.minimize} is not possible today; these are: {', '.join(COSTS)}")
    if c.maximize is not None:
        raise BadInput("--minimize and --maximize exclude each other; give one, and a limit on the other metric")
    if c.minimized is not None and c.floor is None:
        raise BadInput(f"--minimize {c.minimize} without a limit would end with nothing; give --min accuracy=0.9 too")


def _may_grow(name: str) -> bool:
    """True for a metric of which more is better; of the user's own it is not known yet."""
    return METRICS.get(name, ("", True))[1]
