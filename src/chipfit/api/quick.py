"""Answers in seconds, without data and without a run: where the time goes, and whether a budget is within reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chipfit.api.config import Config
from chipfit.api.inputs import Given, ModelLike, check_kept, load_entries, opened, user_memory
from chipfit.api.runs import LimitsLike
from chipfit.core.errors import BadInput
from chipfit.core.types import Limit
from chipfit.recipes import check as check_recipe
from chipfit.recipes import profile as profile_recipe
from chipfit.recipes.check import Feasibility
from chipfit.recipes.profile import Profile


def profile(
    model: ModelLike | Sequence[ModelLike],
    *,
    device: str = "local",
    weights: Sequence[str | Path] = (),
    input_shape: Sequence[int] | None = None,
) -> dict[str, Profile]:
    """Where the time of each model goes on a device, as float32: model name to its profile.

    Raises:
        BadInput: a model or device that cannot be used.
    """
    given = Given.of(model)
    config = Config.of({"models": given.names, "weights": list(weights), "device": device, "input_shape": input_shape})
    return profile_of(config, given)


def profile_of(config: Config, given: Given | None = None) -> dict[str, Profile]:
    """`profile` for a configuration."""
    with opened(config.device) as on, user_memory() as memory:
        entries = load_entries(config, given or Given(), None)
        return {e.name: profile_recipe.profile(e, on, memory) for e in entries}


def check(
    model: ModelLike | Sequence[ModelLike],
    *,
    limits: LimitsLike,
    device: str = "local",
    weights: Sequence[str | Path] = (),
    bits: Sequence[int] = (32, 8),
    keep: Sequence[str] = (),
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
) -> dict[str, Feasibility]:
    """Whether each model can be brought within the limits on a device: model name to what can be reached, and how.

    Nothing is trained and no data is needed. A share such as "60%" is of the model itself, as float32.

    Raises:
        BadInput: a model, device or limit that cannot be used.
    """
    given = Given.of(model)
    config = Config.of({
        "models": given.names, "weights": list(weights), "device": device, "max": limits, "bits": tuple(bits),
        "keep": keep, "input_shape": input_shape, "seed": seed,
    })  # fmt: skip
    return check_of(config, given)


def check_of(config: Config, given: Given | None = None) -> dict[str, Feasibility]:
    """`check` for a configuration."""
    limits = [Limit.parse(text) for text in config.max]
    if not limits:
        raise BadInput("no limit was given; give --max latency_ms=5, or --max latency_ms=60%")
    with opened(config.device) as on, user_memory() as memory:
        entries = load_entries(config, given or Given(), None)
        check_kept(config.kept, entries)
        return {
            e.name: check_recipe.check(e, on, limits, memory, keep=config.kept, bits=config.bits, seed=config.seed)
            for e in entries
        }
