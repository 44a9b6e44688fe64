"""The verbs of `chipfit predict`: a device's latency from a few timings and tables of other devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chipfit.cli import show
from chipfit.cli.options import Common, Networks, Texts, configured, number
from chipfit.cli.output import emit, following
from chipfit.cli.verbs import COMMON, NO_NETWORKS
from chipfit.core import words
from chipfit.core.errors import BadInput

MOST_NETWORKS = 100_000
"""Networks to be timed by one command: a day on a device that takes a second for each."""

Files = Annotated[
    tuple[str, ...], Parameter(help="tables of networks and devices (.npz), one or more", consume_multiple=True)
]


def measure(
    *model: str,
    n: Annotated[str, number("how many networks to time")] = "20",
    tables: Files = (),
    out: Annotated[Path | None, Parameter(help="samples.csv, or FILE.npz for networks and timings")] = None,
    export_to: Annotated[Path | None, Parameter(help="write the networks as files, to be timed by hand")] = None,
    format: Annotated[str, Parameter(help="of those files")] = "onnx",
    bits: Annotated[str | None, Parameter(help="precisions of the networks")] = None,
    networks: Networks = NO_NETWORKS,
    common: Common = COMMON,
) -> int:
    """Time networks on a device: about 20 describe a new one, some hundreds on several make a table.

    Parameters
    ----------
    model
        whose variants are timed; or name a table with --tables whose networks are
    """
    options = configured(model, None, networks, common)
    options = options if bits is None else options.changed(bits=bits)
    many = words.whole("--n", n, 1, MOST_NETWORKS)
    from chipfit.api import predict as at

    with following(common) as progress:
        if export_to is not None:
            if networks.device is not None or out is not None:
                raise BadInput("--export-to writes files to be timed elsewhere; leave --device and --out away")
            found = at.export(options, many, tables, export_to, format, progress)
        elif out is None:
            raise BadInput("say where the timings go: --out samples.csv, or --out table.npz; or --export-to FOLDER")
        else:
            found = at.measure(options, many, tables, out, progress)
    emit(common, found.plain(), show.timings(found))
    return 0


def draw(
    *,
    tables: Files,
    n: Annotated[str, number("how many networks to draw")] = "20",
    out: Annotated[Path, Parameter(help="samples.csv: name and an empty cell, to be filled in")],
    metric: Annotated[str | None, Parameter(help="what will be measured; the tables' metric without it")] = None,
    common: Common = COMMON,
) -> int:
    """Draw the networks of tables that are to be timed by hand on a new device, whatever they are known by."""
    from chipfit.api import predict as at

    found = at.draw(tables, words.whole("--n", n, 1, MOST_NETWORKS), out, metric, common.rng_seed)
    emit(common, found.plain(), show.timings(found))
    return 0


def fit(
    *,
    tables: Files = (),
    device_timings: Annotated[str, Parameter(help="samples of the device: name,latency_ms (.csv), or a .npz table")],
    name: Annotated[str, Parameter(help="the device's; it is predicted:NAME from then on")],
    format: Annotated[str, Parameter(help="what the device takes files in: onnx, tflite, ncnn, ...")] = "onnx",
    out: Annotated[Path | None, Parameter(help="FILE.npz in the place of the user's data folder")] = None,
    without: Annotated[tuple[str, ...], Parameter(help="a device of the tables to leave out")] = (),
    as_written: Annotated[bool, Parameter(help="take values that seem to be in another unit as they are")] = False,
    common: Common = COMMON,
) -> int:
    """Fit a predictor to a few timings of a device, with the help of what is known of others."""
    from chipfit.api import predict as at

    with following(common) as progress:
        progress("fit", f"{device_timings}, beside {len(tables)} tables")
        found = at.fit(
            tables, device_timings, name, out=out, format=format, without=without, as_written=as_written,
            seed=common.rng_seed,
        )  # fmt: skip
    emit(common, found.plain(), show.predictor(found))
    return 0


def run(
    name: str,
    *model: str,
    networks_of: Annotated[Texts, Parameter(name="--networks", help="a table whose networks are predicted")] = (),
    networks: Networks = NO_NETWORKS,
    common: Common = COMMON,
) -> int:
    """Predict models as they are, or a table's networks: values with 90 % intervals.

    Parameters
    ----------
    name
        of a predictor, or its file
    model
        zoo:fashion-mnist/resnet8, FILE.py:FUNCTION (with --input-shape) or FILE.onnx
    """
    options = configured(model, None, networks, common)
    from chipfit.api import predict as at

    with following(common):
        found = at.run(name, options, networks_of)
    emit(common, found.plain(), show.foretold(found))
    return 0


def split(
    *,
    tables: Files,
    sources: Annotated[str | None, number("how many devices to learn from; half of them without it")] = None,
    targets: Annotated[str | None, number("how many to test on; the others without it")] = None,
    common: Common = COMMON,
) -> int:
    """Split the devices of tables into two sides that are little alike, to test how far predictors carry over."""
    from chipfit.api import predict as at

    learnt, tested = (
        None if text is None else words.whole(option, text, 1, MOST_NETWORKS)
        for option, text in (("--sources", sources), ("--targets", targets))
    )
    found = at.split(tables, learnt, tested, common.rng_seed)
    emit(common, found, [f"{side:9} {', '.join(names)}" for side, names in found.items()])
    return 0


def check(
    run: Path,
    *,
    timings: Annotated[str, Parameter(help="name,latency_ms of final files (.csv), a name being a key or a budget")],
    common: Common = COMMON,
) -> int:
    """Take real latencies of a run's files into it, and compare them with what was predicted.

    Parameters
    ----------
    run
        the directory of a run for a predicted device
    """
    from chipfit.api import predict as at

    found = at.check(run, timings)
    emit(common, [c.plain() for c in found], show.checked(found))
    return 0
