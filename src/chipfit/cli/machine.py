"""The verbs about what is here: this machine, its devices, the zoo, and the demonstration."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

from rich.console import RenderableType
from rich.text import Text

from chipfit.cli import show
from chipfit.cli.options import Common, number
from chipfit.cli.output import emit, following
from chipfit.cli.verbs import COMMON, show_result, stopped
from chipfit.core import words
from chipfit.core.deadline import parse_duration
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.types import Plain

MOST_EPOCHS = 10_000


def doctor(*, device: str = "local", common: Common = COMMON) -> int:
    """Look at this machine: versions, cores, instruction sets, timing noise, data; and how to get what is missing.

    Parameters
    ----------
    device
        what to time on
    """
    from chipfit.api import doctor as at

    with following(common):
        findings = at.examine(device)
    rows: list[list[RenderableType]] = [
        [
            Text("ok", style="green") if f.well else Text("mind", style="yellow"),
            f.what,
            f.found,
            f.remedy if not f.well else "",
        ]
        for f in findings
    ]
    emit(common, [f.plain() for f in findings], [show.table("", ("", "what", "found", "what to do"), rows, left=4)])
    return 0 if all(f.well or not f.essential for f in findings) else ChipfitError.exit_code


def devices(*, common: Common = COMMON) -> int:
    """List what can be targeted, and the file format that each takes."""
    from chipfit.api.places import predictor_file, predictors
    from chipfit.device.accelerator.parts import PARTS
    from chipfit.device.registry import ALIASES, DEVICES, FAMILIES
    from chipfit.evaluate.latency.predict import read_predictor

    plain: list[Plain] = []
    rows = []
    for name, kind in DEVICES.items():
        names = ", ".join([name, *(alias for alias, target in ALIASES.items() if target == name)])
        state = f"pip install {kind.missing}" if kind.missing else "ready"
        plain.append({"name": name, "format": kind.format, "about": kind.about, "state": state})
        rows.append([names, kind.format, state, kind.about])
    for prefix, kind in FAMILIES.items():
        name, state = f"{prefix}PART", f"pip install {kind.missing}" if kind.missing else "ready"
        about = f"{kind.about}; parts: {', '.join(PARTS)}"
        plain.append({"name": name, "format": kind.format, "about": about, "state": state})
        rows.append([name, kind.format, state, about])
    for name in predictors():
        place = predictor_file(name)
        about, format, state = f"predicted from a few timings: {place}", "", "ready"
        try:
            format = read_predictor(place).format
        except BadInput as e:
            state = str(e)
        plain.append({"name": f"predicted:{name}", "format": format, "about": about, "state": state})
        rows.append([f"predicted:{name}", format, state, about])
    emit(common, plain, [show.table("", ("device", "format", "state", "what it is"), rows, left=4)])
    return 0


def zoo(*, common: Common = COMMON) -> int:
    """List the trained networks that ship with chipfit: a hot start for a fit."""
    from chipfit.nets.zoo import manifest

    records = manifest()
    rows = [
        [
            f"zoo:{r.dataset}/{r.name}", f"{100 * r.validation_accuracy:.2f}", f"{100 * r.test_accuracy:.2f}",
            f"{r.parameters / 1e3:.4g}", f"{r.macs / 1e6:.3g}", r.licence,
        ]
        for r in records
    ]  # fmt: skip
    head = ("model", "valid. %", "test %", "k params", "M MACs", "licence")
    emit(common, cast(Plain, [asdict(r) for r in records]), [show.table("", head, rows)])
    return 0


def train_zoo(
    *name: str,
    out: Path = Path("zoo-weights"),
    epochs: Annotated[str | None, number("instead of each network's own number, for a quick look")] = None,
    data: str = "fashion-mnist",
    common: Common = COMMON,
) -> int:
    """Train networks of the zoo again, and write weights and manifest.

    Parameters
    ----------
    name
        lenet5, dscnn, mobilenetv2, vgg6, resnet8, resnet20; without a name all of them, which takes hours
    out
        the folder to write to
    data
        what to train on
    """
    from chipfit.data.load import load_data
    from chipfit.train import zoo as trained

    length = None if epochs is None else words.whole("--epochs", epochs, 1, MOST_EPOCHS)
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; give a folder for the weights")
    with following(common) as progress:
        rows = trained.train_zoo(name, load_data(data), out, seed=common.rng_seed, epochs=length, progress=progress)
    shown = [[r.name, f"{100 * r.validation_accuracy:.2f}", f"{100 * r.test_accuracy:.2f}"] for r in rows]
    emit(
        common,
        cast(Plain, [asdict(r) for r in rows]),
        [show.table("", ("model", "valid. %", "test %"), shown), str(out)],
    )
    return 0


def demo(
    *,
    budgets: str = "40%,20%",
    time: str = "5m",
    device: str = "local",
    out: Path = Path("runs/demo"),
    common: Common = COMMON,
) -> int:
    """The README's example: the zoo on Fashion-MNIST, fitted to this processor under two budgets.

    Parameters
    ----------
    budgets
        shares of the latency of the most accurate network
    time
        for the whole run
    device
        what to fit to
    out
        the run directory
    """
    from chipfit.api import demo as example

    try:
        with following(common, parse_duration(time)) as progress:
            result = example.demo(
                budgets=budgets, time=time, device=device, out=out, seed=common.rng_seed, progress=progress
            )
    except KeyboardInterrupt:
        return stopped(out)
    return show_result(common, result)
