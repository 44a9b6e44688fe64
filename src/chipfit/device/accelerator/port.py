"""What recipes ask of a device whose hardware is designed for each network, whichever it is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from chipfit.core.graph import Graph
from chipfit.core.protocols import Device
from chipfit.device.accelerator.chosen import Chosen
from chipfit.device.accelerator.named import Target


@runtime_checkable
class Designing(Device, Protocol):
    """A device that gives each network hardware of its own: a latency there is that of the best design for it.

    `target` is the part with its limits, `fingerprint` what tells it from other hardware.
    """

    @property
    def target(self) -> Target: ...
    @property
    def fingerprint(self) -> str: ...
    def chosen(self, graph: Graph) -> Chosen:
        """The best design for a network.

        Raises:
            BadInput: an operator that the model has no rule for, or a kernel larger than a given tk.
            Infeasible: no design is within the limits.
        """
        ...


def designing(device: Device) -> Designing | None:
    """The device as one that designs hardware; None where its hardware is given."""
    return device if isinstance(device, Designing) else None
