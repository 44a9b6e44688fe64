"""Answers in seconds, without data and without a run: where the time goes, and whether a budget is within reach."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chipfit.api.config import Config
from chipfit.api.inputs import Given, ModelLike, load_all, load_editable, opened, user_memory
from chipfit.api.runs import LimitsLike
from chipfit.api.words import NO_PROGRAMS
from chipfit.core.errors import BadInput
from chipfit.core.protocols import Device
from chipfit.device.registry import DEVICES
from chipfit.recipes import check as check_recipe
from chipfit.recipes import onnx_file
from chipfit.recipes import profile as profile_recipe
from chipfit.recipes.check import Feasibility
from chipfit.recipes.onnx_file import FileFeasibility
from chipfit.recipes.profile import Profile
from chipfit.recipes.settings import Progress, silent


def profile(
    model: ModelLike | Sequence[ModelLike],
    *,
    device: str = "local",
    weights: Sequence[str | Path] = (),
    input_shape: Sequence[int] | None = None,
    inputs: Mapping[str, Sequence[int]] | Sequence[str] = (),
    output: str | int | None = None,
) -> dict[str, Profile]:
    """Where the time of each model goes on a device: model name to its profile.

    It is timed in float32 (int8 where the device has no other precision), an ONNX file as it is where the device takes
    such files, else as the network that it holds. Of a model that takes several inputs `inputs` says their shapes, as
    {"image": (3, 32, 32), "size": (1,)} or ["ids=24:int", "mask=24:int"]; of one that answers with several values
    `output` says which it is for.

    Raises:
        BadInput: a model or device that cannot be used.
        ChipfitError: the device cannot run the file.
    """
    given = Given.of(model)
    config = Config.of({
        "models": given.names, "weights": weights, "device": device, "input_shape": input_shape, "inputs": inputs,
        "output": output,
    })  # fmt: skip
    return profile_of(config, given)


def profile_of(config: Config, given: Given | None = None, progress: Progress = silent) -> dict[str, Profile]:
    """`profile` for a configuration."""
    with opened(_single(config)) as on, user_memory() as memory:
        if on.format != "onnx":
            loaded = load_editable(config, given or Given())
            _check_format(loaded.files, on)
            named = {e.name: e for e in loaded.entries} | loaded.read
            _tell_profile(progress, named, on)
            return {name: profile_recipe.profile(e, on, memory) for name, e in named.items()}
        entries, files = load_all(config, given or Given())
        _tell_profile(progress, [*(e.name for e in entries), *files], on)
        found = {e.name: profile_recipe.profile(e, on, memory) for e in entries}
        return found | {path: onnx_file.profile(path, file, on, memory) for path, file in files.items()}


def _tell_profile(progress: Progress, names: Iterable[str], on: Device) -> None:
    progress("profile", f"the operators of {', '.join(names)} on {on.name}")


def check(
    model: ModelLike | Sequence[ModelLike],
    *,
    limits: LimitsLike,
    device: str = "local",
    weights: Sequence[str | Path] = (),
    bits: Sequence[int] = (32, 8),
    programs: str | bool = NO_PROGRAMS,
    keep: Sequence[str] = (),
    input_shape: Sequence[int] | None = None,
    inputs: Mapping[str, Sequence[int]] | Sequence[str] = (),
    output: str | int | None = None,
    seed: int = 0,
) -> dict[str, Feasibility | FileFeasibility]:
    """Whether each model can be brought within the limits on a device: model name to what can be reached, and how.

    Nothing is trained and no data is needed. A share such as "60%" is of what it is of in a fit: the most accurate
    model, at the faster of as it came and int8; of models whose accuracy nobody recorded the first counts. An ONNX
    file is a model like any other; of one that cannot be edited (`why` says for which operator) the file itself and its
    int8 version are timed, and a share is of the faster one.

    Raises:
        BadInput: a model, device or limit that cannot be used.
    """
    given = Given.of(model)
    config = Config.of({
        "models": given.names, "weights": weights, "device": device, "max": limits, "bits": bits,
        "programs": programs, "keep": keep, "input_shape": input_shape, "inputs": inputs, "output": output,
        "seed": seed,
    })  # fmt: skip
    return check_of(config, given)


def check_of(
    config: Config, given: Given | None = None, progress: Progress = silent
) -> dict[str, Feasibility | FileFeasibility]:
    """`check` for a configuration."""
    limits = config.limits
    if config.budgets:
        raise BadInput(f"--budgets {','.join(config.budgets)} is for fit; give check one: --max latency_ms=60%")
    if not limits:
        raise BadInput("no limit was given; give --max latency_ms=5, or --max latency_ms=60%")
    with opened(_single(config)) as on, user_memory() as memory:
        loaded = load_editable(config, given or Given())
        _check_format(loaded.files, on)
        entries = {e.name: e for e in loaded.entries} | loaded.read
        progress("reference", f"{', '.join(entries) or 'files'}: as they came, and in int8")
        of = check_recipe.reference(list(entries.values()), on, memory, bits=config.bits) if entries else None
        found: dict[str, Feasibility | FileFeasibility] = {
            name: check_recipe.check(
                e,
                on,
                limits,
                memory,
                keep=config.kept,
                bits=config.bits,
                seed=config.seed,
                of=of,
                programs=config.programs != NO_PROGRAMS,
                progress=progress,
            )
            for name, e in entries.items()
        }
        for path, file in loaded.files.items():
            as_it_is = onnx_file.check(file, on, limits, memory, bits=config.bits)
            found[path] = replace(as_it_is, why=loaded.why[path])
        return found


def _single(config: Config) -> str:
    """The one device."""
    if len(config.devices) != 1:
        raise BadInput(f"--device {config.device}: this looks at one device at a time; name one")
    return config.devices[0]


def _check_format(files: Collection[str], device: Device) -> None:
    """Raises BadInput for files that are of another format than the device's."""
    if files and device.format != "onnx":
        takers = ", ".join(name for name, kind in DEVICES.items() if kind.format == "onnx")
        raise BadInput(
            f"{next(iter(files))} is an ONNX file, device {device.name!r} takes {device.format}; give {takers}"
        )
