"""The first file of a network is held against the user's module, in the runtime that will ship it.

The network was held against the module when it was traced (`nets.faithful`); here it is what an exporter and a runtime
made of it. Only float files can be: an int8 one rounds, and so does one in fixed point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Network, Op, live
from chipfit.core.protocols import Device
from chipfit.core.types import Artifact
from chipfit.evaluate.timing import Latencies
from chipfit.export.formats import FORMATS, writer
from chipfit.nets.answers import Answers, Floats
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry

NOTES: Final[Mapping[str, str]] = {}


def hold_file(entry: Entry, timing: Latencies, artifact: Artifact | None = None) -> None:
    """Refuses an entry whose float file answers otherwise than the user's module, in two batch sizes.

    Nothing is said where the module is not known, nor of devices that compute in int8 alone: what holds there is that
    the network is the module's, and the file is held against its fake quantisation.

    Args:
        entry: the network and the module's answers.
        timing: the devices.
        artifact: the file, where it has been written; else it is.

    Raises:
        BadInput: the file differs, or cannot be written; names the first operator.
    """
    if entry.answers is None or 32 not in timing.facts.bits:
        return
    written = timing.write(entry.network, None, NOTES) if artifact is None else artifact
    for device, part in timing.parts(written):
        if FORMATS[part.format].rounds:
            continue  # the file is held against the rounded network (`Deployer.export`)
        error = max(_error(device, part, entry.answers), _error(device, part, entry.answers.take(1)))
        if error > entry.answers.allowed:
            first = _first_difference(device, entry.network, entry.answers)
            where = "" if first is None else f", first at operator {first.kind!r} ({first.name!r})"
            raise BadInput(
                f"{entry.source}: the {part.format} file answers otherwise on {device.name} than the module (error "
                f"{error:.2g} of the largest answer, allowed {entry.answers.allowed:g}){where}; give another --device, "
                f"and report this as a fault of chipfit"
            )


def _error(device: Device, artifact: Artifact, answers: Answers) -> float:
    return answers.error(device.run(artifact, answers.inputs))


def _first_difference(device: Device, network: Network, answers: Answers) -> Op | None:
    """The first operator up to which a file of the network differs from the network itself, found by halving."""
    operators = network.graph.ops[1:]
    with torch.inference_mode():
        values = build(network).capture(torch.from_numpy(answers.inputs), [o.name for o in operators])

    def differs(n: int) -> bool:
        name = operators[n].name
        want = values[name].numpy()
        got = _file_until(device, network, name, answers.inputs)
        scale = max(float(np.abs(want).max()), answers.least)
        return got is None or got.shape != want.shape or float(np.abs(got - want).max()) > answers.allowed * scale

    low, high = 0, len(operators) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle + 1, high)
    return operators[low] if differs(low) else None


def _file_until(device: Device, network: Network, name: str, inputs: Floats) -> Floats | None:
    """What a file of the operators up to one of them answers; None where there can be none."""
    graph = live(network.graph.ops, name)
    weights = {w: network.weights[w] for o in graph for w in graph.weight_shapes(o)}
    try:
        return device.run(writer(device.format)(Network(graph, weights)), inputs)
    except ChipfitError:
        return None
