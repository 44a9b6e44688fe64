"""Runs: begun, gone on with, given another budget. One configuration is one run directory.

The same options on a directory find the same run: unfinished it goes on from what its store holds, finished it gives
its result. Other options on it are an error, except through `resume`, which changes budget and time and keeps every
measurement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from chipfit.api import config_file
from chipfit.api.config import Config
from chipfit.api.inputs import (
    DataLike,
    Given,
    Inputs,
    ModelLike,
    data_name,
    load,
    load_entries,
    opened_accelerator,
    opened_all,
    user_memory,
    user_profiles,
    user_programs,
)
from chipfit.api.result import Model, Result, read_result, written
from chipfit.core.deadline import UNLIMITED, Deadline, parse_duration
from chipfit.core.errors import BadInput, ChipfitError, Damaged, Infeasible
from chipfit.core.ports import Ports, ports_of
from chipfit.core.types import Limit, Plain
from chipfit.data.depth import noted
from chipfit.export.formats import FORMATS, run_as
from chipfit.nets import accelerator as computing
from chipfit.recipes import fit as recipe
from chipfit.recipes import master
from chipfit.recipes.cost_front import cost_front
from chipfit.recipes.settings import Progress, Settings, silent
from chipfit.report.card import PREDICTED_WITH, predict_source
from chipfit.report.choose import budget_of
from chipfit.report.hardware import as_file
from chipfit.report.page import page
from chipfit.report.view import RunView
from chipfit.store.atomic import write_atomically
from chipfit.store.damaged import note
from chipfit.store.memory import LayeredMemory
from chipfit.store.place import check_place
from chipfit.store.store import DATABASE_NAME, Store

LimitsLike = Mapping[str, float | str] | Sequence[str]
"""{"latency_ms": 5, "size_mb": "50%"} or ["latency_ms=5", "size_mb=50%"]."""

LEAST_SHARE = 0.25
"""Of its time that a run which is taken up again gets at least."""


def fit(
    model: ModelLike | Sequence[ModelLike],
    *,
    data: DataLike | None = None,
    device: str = "local",
    one_model: bool = False,
    limits: LimitsLike = (),
    budgets: Sequence[str] | str = (),
    min_accuracy: float | str | None = None,
    min_quality: LimitsLike = (),
    maximize: str | None = None,
    minimize: str | None = None,
    time: str | None = None,
    epochs: float | None = None,
    train: bool = True,
    weights: Sequence[str | Path] = (),
    bits: Sequence[int] = (32, 8),
    programs: str | bool = False,
    keep: Sequence[str] = (),
    input_shape: Sequence[int] | None = None,
    output: str | int | None = None,
    task: str | None = None,
    resize: str | None = None,
    normalize: str | None = None,
    accelerator: str = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    starts: int = 3,
    finalists: int = 1,
    baselines: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Fits the model, or the best of several for one task, to the device: the most accurate file within the limits.

    Training uses processes of its own, so a script calls this under `if __name__ == "__main__":`.

    Args:
        model: a torch module with trained weights, a name like those of the command line, or several of either.
        data: "fashion-mnist", "digits", a folder or zip of class folders, "my_data.py:loaders", dict(train=,
            validation=, test=) as such a function returns it, of loaders or pairs of arrays, or a `Dataset`; none for
            networks without weights (published:resnet18).
        device: see `chipfit devices`; several as "A,B" with `one_model`.
        one_model: one model that holds the budget on all of several devices, a file for each format. A share of the
            reference's latency is then of its latency on each; latencies are those of the device that is worst off,
            in milliseconds of the first, and accuracies those of the file that has the least.
        limits: upper limits that hold at once, absolute or a share of the reference ("60%"): of the most accurate
            model's own number, at the faster of as it came and int8 (`core.reference`).
        budgets: several budgets in one run, such as "40%,20%" of the reference's latency.
        min_accuracy: what the result must reach on validation, 0..1, or a share such as "99%" of the reference
            model's as it came.
        min_quality: the same in another metric of the task, of which more is better: {"f1": 0.8} or ["iou=95%"]. Where
            less is better it is a limit like others: limits={"rmse": 0.1}.
        task: what the model is for: "classification", "multi-label", "regression", "segmentation", "tokens" or "image";
            without it seen in the targets beside the model's answers.
        maximize: which of the task's metrics quality is, such as "accuracy" of a segmentation.
        minimize: a cost that is made as small as `min_accuracy` allows, instead of accuracy as large as `limits` allow;
            or which of the task's metrics quality is, where less is better.
        time: for everything, such as "90s", "10m", "1h30m", or "none"; without it "10m", and "none" with `epochs`.
        epochs: length of the fine-tune; without it the time that is left.
        train: False: post-training only, for which unlabelled data will do.
        weights: a file for each model named FILE.py:FUNCTION.
        bits: precisions that may be used.
        programs: which programs of operators may compute layers in their place, where the device profits: "none",
            "known" (those that ship, or were good on this machine before; also True) or "evolved" (others are searched
            for, for what is slowest on the device).
        keep: layers, or beginnings of their names, that stay as they are.
        input_shape: (C, H, W) of one input; without it that of the data.
        output: of a model that answers with several values the name or place of the one that is fitted; without it the
            obvious one, such as `logits`.
        resize: "HEIGHTxWIDTH" that pictures are resized to.
        normalize: "MEAN,STD"; without it computed from the data.
        accelerator: where training, damage and repair compute: "auto" (a GPU where there is one), "cpu" or "cuda".
        seed: of all that is random.
        out: run directory; without it runs/MODEL-HASH.
        starts: number of models whose designs are searched, the most promising for the budgets first.
        finalists: number of designs fine-tuned at full length for each budget.
        baselines: make the all-int8 and uniform-width baselines too.
        progress: called with (phase, what is happening).

    Raises:
        BadInput: an argument that cannot be used.
        Infeasible: no design holds a budget; `nearest` tells what can be reached.
    """
    given = Given.of(model, data)
    config = Config.of({
        "models": given.names, "weights": weights, "data": data_name(data), "device": device,
        "one_model": one_model, "max": limits,
        "min": (min_quality or None) if min_accuracy is None else {"accuracy": min_accuracy}, "task": task,
        "maximize": maximize, "minimize": minimize, "budgets": budgets,
        "time": time, "epochs": epochs, "train": train, "bits": bits, "programs": programs, "keep": keep,
        "input_shape": input_shape, "output": output,
        "resize": resize, "normalize": normalize, "accelerator": accelerator, "seed": seed,
        "out": None if out is None else str(out), "starts": starts, "finalists": finalists, "baselines": baselines,
    })  # fmt: skip
    return run(config, given=given, progress=progress)


def run(config: Config, *, given: Given | None = None, progress: Progress | None = None) -> Result:
    """The result of the run of a configuration: begun, gone on with, or read where it has ended.

    Raises:
        BadInput: something cannot be used as it is, or the directory holds a run of other options.
        Infeasible: no design holds a budget.
    """
    if len(config.devices) != 1 and not config.one_model:
        raise BadInput(f"a run is for one device, not for {config.device!r}; give --one-model, or use chipfit.fit_each")
    deadline = Deadline.after(parse_duration(config.time))
    computing.choose(config.accelerator)
    objects, folder = given or Given(), config.directory
    _ = config.budget_sets  # no budget at all is found before anything is opened
    check_place(folder)
    if config.weightless:
        return _costs(config, folder, progress)
    if not (folder / DATABASE_NAME).is_file():
        with opened_all(config.devices):
            inputs = load(config, objects)
        with Store.open_or_create(folder, config.plain()) as store:
            return _go(store, config, inputs, deadline, progress)
    with Store.open_or_create(folder, config.plain(), recipe.idle) as store:
        inputs = load(config, objects)
        if config.out is not None or recipe.idle(store) or _other_input(store, inputs) is None:
            return _taken_up(store, config, inputs, deadline, progress)
    # nobody named the directory, and what it holds is of other networks or data: these have one of their own
    beside = config.changed(out=f"{folder}-{inputs.mark}")
    check_place(beside.directory)
    with Store.open_or_create(beside.directory, beside.plain(), recipe.idle) as store:
        return _taken_up(store, beside, inputs, deadline, progress)


def _taken_up(store: Store, config: Config, inputs: Inputs, deadline: Deadline, progress: Progress | None) -> Result:
    """The result of a run that a directory holds: read where it has ended, gone on with else."""
    if store.finished:
        _check_inputs(store, inputs)
        if (result := _made_before(store, config)) is not None:
            (progress or silent)("read", f"{store.path} has this run, which had ended: nothing was run")
            return result
    return _go(store, config, inputs, deadline, progress)


def _costs(config: Config, folder: Path, progress: Progress | None) -> Result:
    """The result of a run of networks without weights: costs alone, accuracy unknown."""
    _check_costs_alone(config)
    with Store.open_or_create(folder, config.plain(), recipe.idle) as store:
        return _costed(store, config, progress)


def _costed(store: Store, config: Config, progress: Progress | None) -> Result:
    """The same in a store that is open, which is read where the run has ended."""
    entries = load_entries(config, Given(), None)
    with opened_accelerator(config) as device:
        if not store.finished:
            cost_front(entries, device, _settings(config), store, progress or silent)
        return _ended(store, config)


def _costed_anew(store: Store, config: Config, progress: Progress | None) -> Result:
    """The same under another budget; rows that are known stay."""
    recipe.forget(store, training=False)
    store.set_fact("config", config.plain())
    return _costed(store, config, progress)


def _check_costs_alone(config: Config) -> None:
    """Refuses to hold an accuracy that nobody knows."""
    if config.floor is not None:
        said = f"--min {config.min[0]}" if config.min else f"--max {config.floor.metric}={config.floor.value:g}"
        raise BadInput(f"{config.models[0]} has no weights, so that {said} cannot be checked; drop it")


def _made_before(store: Store, config: Config) -> Result | None:
    """The result of a finished run; None of one to go on with, such as one whose files were damaged since."""
    if not store.finished:
        return None
    try:
        return _ended(store, config)
    except Damaged as e:
        note(f"{str(e).partition('; ')[0]}; it is made again now")
        recipe.forget(store, training=False)  # the file is made again of what was trained
        return None


def fit_each(
    model: ModelLike | Sequence[ModelLike],
    *,
    data: DataLike,
    devices: Sequence[str],
    time: str | None = None,
    out: str | Path,
    **options: Any,
) -> dict[str, Result | ChipfitError]:
    """Fits to several devices, each in a run of its own: device to its result, or to what kept it from one.

    What is known of the networks whatever the device is found out once. Arguments as for `fit`.

    Args:
        model: as for `fit`.
        data: as for `fit`.
        devices: see `chipfit devices`.
        time: for all, as for `fit`; each run gets an equal part.
        out: folder of the run directories, each called like its device.
        options: the others of `fit`.

    Raises:
        BadInput: an argument that cannot be used.
    """
    asked = Config.of({"device": ",".join(devices), "time": time, "epochs": options.get("epochs")})
    names, part = asked.devices, _part(asked.time, len(asked.devices))
    for name in names:  # what one of them refuses is said before any is run
        Config.of({"models": Given.of(model, data).names, "device": name, "max": options.get("limits")})
    return _each(names, lambda d: fit(model, data=data, device=d, time=part, out=Path(out).expanduser() / d, **options))


def run_each(config: Config, *, progress: Progress | None = None) -> dict[str, Result | ChipfitError]:
    """`fit_each` for the devices of a configuration, in folders of its directory."""
    names, folder = config.devices, config.directory
    part = _part(config.time, len(names))

    each = {name: config.changed(device=name, out=str(folder / name), time=part) for name in names}

    def one(name: str) -> Result:
        def tell(phase: str, detail: str) -> None:
            (progress or silent)(phase, f"{name}: {detail}")

        return run(each[name], progress=tell)

    return _each(names, one)


def _part(time: str, n: int) -> str:
    """An equal part of a time, as options say it."""
    return time if time == UNLIMITED else f"{parse_duration(time) / max(1, n):.3f}s"


def _each(devices: Sequence[str], one: Callable[[str], Result]) -> dict[str, Result | ChipfitError]:
    """Each device's result, all being there to begin with; what goes wrong on one leaves the others theirs."""
    with opened_all(devices):
        pass
    found: dict[str, Result | ChipfitError] = {}
    for name in devices:
        try:
            found[name] = one(name)
        except ChipfitError as e:
            found[name] = e
    return found


def resume(
    path: str | Path,
    *,
    limits: LimitsLike = (),
    budgets: Sequence[str] | str = (),
    time: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Goes on with a run, or gives it another budget or time; what was measured is not measured again.

    A new limit takes the place of the old one on the same metric; other limits stay.

    Raises:
        BadInput: not a run directory, or a run that was started from Python objects.
        Infeasible: no design holds a budget.
    """
    if not (Path(path) / DATABASE_NAME).is_file():
        raise BadInput(f"{str(path)!r} is not a run directory (it has no {DATABASE_NAME}); give the --out of a run")
    with Store(path) as store:
        stored = store.fact("config")
        if not isinstance(stored, Mapping):
            raise BadInput(f"run {path} has no configuration; start it again with chipfit fit")
        config = Config.of({**stored, "out": str(path)})
        new = Config.of({"max": limits, "budgets": budgets})
        wanted = config.with_budget(new.max, new.budgets) if new.max or new.budgets else config
        wanted = wanted if time is None else wanted.changed(time=time)
        if wanted.plain() == config.plain() and (result := _made_before(store, config)) is not None:
            return result
        if wanted.weightless:
            return _costed_anew(store, wanted, progress)
        deadline = Deadline.after(parse_duration(wanted.time))
        computing.choose(wanted.accelerator)
        inputs = load(wanted, Given())
        _check_inputs(store, inputs)
        if wanted.plain() != config.plain():
            recipe.forget(store, training=store.finished and wanted.time != config.time)
            store.set_fact("config", wanted.plain())
        return _go(store, wanted, inputs, deadline, progress)


def _go(store: Store, config: Config, inputs: Inputs, deadline: Deadline, progress: Progress | None) -> Result:
    """Runs the recipe on what the store holds, and writes the files of the directory."""
    if recipe.idle(store) and _other_input(store, inputs) is not None:
        store.begin_anew(config.plain())  # the command was right and a file wrong, which is mended now
    _check_inputs(store, inputs)
    store.set_fact(recipe.FAILED, None)
    store.set_fact("inputs", inputs.digests())
    config_file.write(config, store.path / "config.yaml")
    settings = _settings(config)
    with opened_all(config.devices) as devices, user_memory() as far, user_programs() as library:
        memory = LayeredMemory(store.memory, far)
        tell = progress or silent
        store.set_fact("accelerator", computing.described())
        if computing.shared_with_others():
            tell("fine-tune", "another chipfit run computes on this GPU: both are slower; --accelerator cpu parts them")
        try:
            recipe.fit(
                inputs.entries, inputs.dataset, devices, settings, store, memory, _left(store, config, deadline), tell,
                user_profiles(), library,
            )  # fmt: skip
        except (BadInput, Infeasible) as e:
            store.set_fact(recipe.FAILED, str(e))
            if isinstance(e, Infeasible):
                page(store)  # what was measured on the way is worth reading
            raise
    return _ended(store, config)


def _settings(config: Config) -> Settings:
    return Settings(
        budgets=config.budget_sets, train=config.train, epochs=config.epochs, bits=config.bits, keep=config.kept,
        starts=config.starts, finalists=config.finalists, baselines=config.baselines, programs=config.programs,
        seed=config.seed, time_s=parse_duration(config.time),
        profile_s=None if config.profile_time is None else parse_duration(config.profile_time),
        minimize=config.minimized if config.steps_down else None, floor=config.floor,
    )  # fmt: skip


def _check_inputs(store: Store, inputs: Inputs) -> None:
    """A run goes on only with the networks and data that it was begun with."""
    if (name := _other_input(store, inputs)) is not None:
        raise BadInput(f"{name} is not what run {store.path} was started with; give another --out to begin anew")


def _other_input(store: Store, inputs: Inputs) -> str | None:
    """The first network or data that is not what the run was begun with; None where all are, or none is known."""
    stored, now = store.fact("inputs"), inputs.digests()
    if not isinstance(stored, Mapping):
        return None
    return next((name for name in {**stored, **now} if stored.get(name) != now.get(name)), None)


def _left(store: Store, config: Config, deadline: Deadline) -> Deadline:
    """What earlier sessions of this run left of its time, a quarter at least."""
    phases = cast(list[tuple[str, float]], store.fact("phases") or [])
    total = parse_duration(config.time)
    return deadline.sooner(max(LEAST_SHARE * total, total - sum(seconds for _, seconds in phases)))


def _ended(store: Store, config: Config) -> Result:
    """The result of a finished run, its files written where they are missing or older than the store.

    Raises:
        Infeasible: the best model does not reach the quality that was asked for.
    """
    if config.minimized is not None:
        _smallest_first(store, config)
    result = read_result(store)
    if result.best is not None:
        _write_hardware(result.path, as_file(store.fact("hardware"), result.best.file))
    if result.best is not None and result.best.exportable:
        _write_best(result.path, result.best, result.view, _ports(store, result.best))
    page(store)
    _check_floor(result, config)
    return result


HARDWARE = "hardware.json"
"""What an accelerator's design is written to, beside the file that it computes."""


def _write_hardware(folder: Path, design: Plain | None) -> None:
    """best/hardware.json, where the run was for an accelerator."""
    if design is not None:
        (folder / "best").mkdir(exist_ok=True)
        write_atomically(folder / "best" / HARDWARE, json.dumps(design, indent=2).encode())


def _ports(store: Store, best: Model) -> Ports:
    """The inputs of a model that takes several; none for one input, or where the network was not kept."""
    kept = best.blob is not None and master.known(store, best.blob)
    return ports_of(master.network(store, best.blob or "").graph.ops[0]) if kept else ()


def _write_best(folder: Path, best: Model, run: RunView, ports: Ports) -> None:
    """best/model.*, and where a few lines of Python can run it best/predict.py."""
    place, data = folder / "best", run.dataset
    place.mkdir(exist_ok=True)
    for artifact in best.artifacts().values():
        written(place / f"model{FORMATS[artifact.format].suffix}", artifact)
    names = () if isinstance(data.classes, int) else data.classes
    if (first := run_as(best.format.split("+")[0])) in PREDICTED_WITH:
        source = predict_source(
            first, data.input_shape, data.mean, data.std, names, best.file_name, pixels=data.pixels, task=run.task.name,
            tokens=data.tokens, probabilities=run.task.probabilities, ports=ports, depth=noted(data.notes),
        )  # fmt: skip
        write_atomically(place / "predict.py", source.encode())


def _floor(result: Result, config: Config) -> Limit | None:
    """What quality must reach, in the metric's own unit."""
    reference = result.view.reference
    if config.floor is None:
        return None
    if reference is None or reference.quality is None:
        return config.floor.against(1.0)
    return reference.against(config.floor)


def _check_floor(result: Result, config: Config) -> None:
    least, best = _floor(result, config), result.best
    if least is None or best is None or (best.quality is not None and least.met(best.quality)):
        return
    rank = result.view.task.metric.rank
    reached = max((m.quality for m in result.finals if m.quality is not None), key=rank, default=0.0)
    name = least.metric
    raise Infeasible(
        f"no model within the budget reaches {name} {least.value:.4g}: the nearest has {reached:.4g}; relax one of the "
        "two",
        {name: reached},
    )


def _smallest_first(store: Store, config: Config) -> None:
    """Orders the run's budgets so that the one it leads with is the smallest that holds the quality asked for."""
    result = read_result(store)
    run, least, name = result.view, _floor(result, config), config.minimize or "latency_ms"
    costs: dict[str, float] = {}
    for r in run.of_role("final"):
        budget, cost = budget_of(run, r), r.metric(name)
        enough = r.quality is not None and (least is None or least.met(r.quality.value))
        if enough and cost is not None and budget is not None and budget.met(r):
            costs[budget.text] = cost.value
    if costs:
        ordered = sorted(run.budgets, key=lambda b: costs.get(b.text, math.inf))
        store.set_fact("budgets", [b.text for b in ordered])
