"""The verbs that work on models and runs.

What loads torch is imported inside the functions that need it, so that `--help` and usage errors come at once.
"""

from __future__ import annotations

import json
import shlex
import webbrowser
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter
from rich.text import Text

from chipfit.api import config_file
from chipfit.api.config import Config
from chipfit.cli.options import Common, Effort, Freedom, Limits, Networks, configured, given
from chipfit.cli.output import document, emit, following, say
from chipfit.core.deadline import parse_duration
from chipfit.core.errors import ChipfitError, Infeasible
from chipfit.core.types import Plain
from chipfit.store.store import DATABASE_NAME

if TYPE_CHECKING:
    from chipfit.api.result import Result

COMMON, NO_LIMITS, NO_EFFORT, NO_NETWORKS, NO_FREEDOM = Common(), Limits(), Effort(), Networks(), Freedom()
File = Annotated[
    Path | None, Parameter(name=("--config", "-c"), help="a chipfit.yaml; without a MODEL the one in this folder")
]
STOPPED = 130


def fit(
    *model: str,
    config: File = None,
    limits: Limits = NO_LIMITS,
    effort: Effort = NO_EFFORT,
    networks: Networks = NO_NETWORKS,
    freedom: Freedom = NO_FREEDOM,
    common: Common = COMMON,
) -> int:
    """Fit models to a device and a budget: the best file that holds it, measured there.

    Parameters
    ----------
    model
        zoo:fashion-mnist, zoo:fashion-mnist/resnet8 or FILE.py:FUNCTION; several for one task are a hot-start zoo
    """
    options = configured(model, config, limits, effort, networks, freedom, common)
    from chipfit.api import runs

    several = len(options.devices) > 1 and not options.one_model
    try:
        with following(common, parse_duration(options.time)) as progress:
            found = runs.run_each(options, progress=progress) if several else runs.run(options, progress=progress)
    except KeyboardInterrupt:
        return stopped_each(options.directory) if several else stopped(options.directory)
    return show_result(common, found) if not isinstance(found, dict) else show_each(common, found)


def resume(run: Path, *, time: str | None = None, limits: Limits = NO_LIMITS, common: Common = COMMON) -> int:
    """Go on with a run, or give it another budget; what was measured is not measured again.

    A new limit takes the place of the run's own on the same metric; its other limits stay.

    Parameters
    ----------
    run
        the directory of a run
    time
        another time for it: 90s, 10m, 1h30m
    """
    said = Config.of(given((), limits))
    from chipfit.api import runs

    try:
        with following(common, parse_duration(time) if time else None) as progress:
            result = runs.resume(run, limits=said.max, budgets=said.budgets, time=time, progress=progress)
    except KeyboardInterrupt:
        return stopped(run)
    return show_result(common, result)


def stopped(run: Path) -> int:
    """What Ctrl-C leaves behind, and how to go on."""
    if (run / DATABASE_NAME).is_file():
        say(f"stopped; what was done is kept: chipfit resume {shlex.quote(str(run))}")
    else:
        say("stopped before anything was stored")
    return STOPPED


def stopped_each(folder: Path) -> int:
    """The same for a run on each of several devices."""
    if any(folder.glob(f"*/{DATABASE_NAME}")):
        say(f"stopped; what was done is kept in {shlex.quote(str(folder))}: the same command goes on")
    else:
        say("stopped before anything was stored")
    return STOPPED


def show_result(common: Common, result: Result) -> int:
    """A run's result as it was asked for; returns the exit code."""
    from chipfit.cli import show

    emit(common, result.plain(), [] if common.json else show.summary(result))
    return 0


def show_each(common: Common, found: Mapping[str, Result | ChipfitError]) -> int:
    """The results on several devices; the exit code of the first that has none."""
    from chipfit.cli import show

    missed = [e for e in found.values() if isinstance(e, ChipfitError)]
    plain = {n: {"error": str(r)} if isinstance(r, ChipfitError) else r.plain() for n, r in found.items()}
    emit(common, plain, [] if common.json else show.each(found))
    return missed[0].exit_code if missed else 0


def profile(
    *model: str,
    all: Annotated[bool, Parameter(help="every operator, not only the slowest")] = False,
    networks: Networks = NO_NETWORKS,
    common: Common = COMMON,
) -> int:
    """Where the time of a model goes: operators with their milliseconds and what bounds them.

    Parameters
    ----------
    model
        zoo:fashion-mnist/resnet8, FILE.py:FUNCTION (with --input-shape) or FILE.onnx; several are profiled in turn
    """
    options = configured(model, None, networks, common)
    from chipfit.api import quick
    from chipfit.cli import show

    with following(common) as progress:
        found = quick.profile_of(options, progress=progress)
    emit(common, cast(Plain, {name: asdict(p) for name, p in found.items()}), show.profiles(found, all))
    return 0


def check(
    *model: str,
    limits: Limits = NO_LIMITS,
    networks: Networks = NO_NETWORKS,
    freedom: Freedom = NO_FREEDOM,
    common: Common = COMMON,
) -> int:
    """Is a budget within reach? In seconds, without data or training; exit code 3 where no model can hold it.

    Parameters
    ----------
    model
        zoo:fashion-mnist/resnet8, FILE.py:FUNCTION (with --input-shape) or FILE.onnx; several are checked in turn
    """
    options = configured(model, None, limits, networks, freedom, common)
    from chipfit.api import quick
    from chipfit.cli import show

    with following(common) as progress:
        found = quick.check_of(options, progress=progress)
    emit(common, cast(Plain, {name: asdict(f) for name, f in found.items()}), show.feasibility(found))
    if any(f.feasible for f in found.values()):
        return 0
    unknown = [name for name, f in found.items() if not getattr(f, "timed", True)]
    if unknown:
        say(f"error: {', '.join(unknown)} could not be timed, so no limit can be judged; why stands above")
    return ChipfitError.exit_code if unknown else Infeasible.exit_code


def report(
    run: Path,
    *,
    open: Annotated[bool, Parameter(help="show it in the browser")] = False,
    common: Common = COMMON,
) -> int:
    """Write the report of a run again, finished or not: report.html, candidates.csv, front.json, model_card.md.

    Parameters
    ----------
    run
        the directory of a run
    """
    from chipfit.api import result

    written = result.write_report(run)
    if open:
        webbrowser.open(written.resolve().as_uri())
    emit(common, {"report": str(written)}, [str(written)])
    return 0


def compare(run: Path, other: Path, *, common: Common = COMMON) -> int:
    """Two runs side by side: what each ended with, and the decisions by which their best models differ.

    Parameters
    ----------
    run
        the directory of a run
    other
        that of another
    """
    from chipfit.api import result
    from chipfit.report.compare import as_json, as_text

    found = result.compare(run, other)
    emit(common, json.loads(as_json(found)), [Text(as_text(found))])
    return 0


def export(
    run: Path,
    *,
    candidate: str | None = None,
    to: str | None = None,
    out: Path | None = None,
    verify: bool = False,
    common: Common = COMMON,
) -> int:
    """Write a model of a run as a file.

    Parameters
    ----------
    run
        the directory of a run
    candidate
        key, name or budget of a final model; without it the best one
    to
        onnx, litert, openvino, ...: another format than that of the file that was measured; onnx-batch takes any
        number of inputs at once
    out
        the file; without it RUN/export/NAME-KEY with the format's ending
    verify
        load the file back, and compare a runtime's answers with those of ONNX's reference implementation
    """
    from chipfit.api import exporting

    done = exporting.export(run, candidate=candidate, to=to, out=out, verify=verify)
    what = f"{done.model.name} ({done.model.origin})" if done.model.origin else done.model.name
    lines = [f"{done.path}  {done.size_mb:.3g} MB  {what}, {done.model.budget}"]
    if done.note:
        lines.append(done.note)
    if (v := done.verified) is not None:
        lines.append(
            f"verified with {v.device} on {v.inputs} inputs against ONNX's reference: largest error "
            f"{v.largest_error:.2g} of the largest logit, same class in {100 * v.agreement:.0f} %"
        )
    emit(common, done.plain(), lines)
    return 0


def init(file: Path = Path(config_file.NAME), *, common: Common = COMMON) -> int:
    """Write a commented chipfit.yaml with every option.

    Parameters
    ----------
    file
        the file to write
    """
    written = config_file.write_example(file)
    emit(
        common,
        {"file": str(written)},
        [f"{written}: edit it, then run: chipfit fit --config {shlex.quote(str(written))}"],
    )
    return 0


def schema(*, common: Common = COMMON) -> int:
    """Print the JSON schema of chipfit.yaml."""
    document(config_file.schema())
    return 0
