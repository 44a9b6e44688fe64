"""The one true evaluator: a network becomes the file that would ship; the file is verified, timed and scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress.quantise import fake_quantised, ranges
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, ChipfitError, Infeasible
from chipfit.core.graph import Network
from chipfit.core.protocols import Device
from chipfit.core.task import CLASSIFICATION
from chipfit.core.types import Artifact, Fidelity, Measurement
from chipfit.device.child import DeviceFailed
from chipfit.device.protocol import failed, reason
from chipfit.evaluate.counts import counted
from chipfit.evaluate.timing import MEMORY, Latencies
from chipfit.export.formats import as_written
from chipfit.nets.build import build
from chipfit.nets.faithful import least_scale

CHECKED = 32
"""Inputs on which a file's answers are compared with the network's."""

FLOAT_TOLERANCE = 1e-3
"""Largest difference from torch that a float32 file may show, as a share of the largest answer."""

LEAST_SCALE = 1e-6
"""What the largest answer counts as where all are smaller."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network's file with what was measured of it, or the reason (`error`) why it is none.

    The artifact of a network that could not even be written has no bytes.
    """

    artifact: Artifact
    measurements: tuple[Measurement, ...] = ()
    error: str | None = None

    @property
    def latency(self) -> Measurement:
        """The measured latency; nan where there is an error."""
        return next(m for m in self.measurements if m.metric == "latency_ms")

    def scored(self, deployer: Deployer, split: Split, where: str) -> Deployed:
        """The same with its quality on a split that has targets; as it is where it has none, or where this failed."""
        if self.error is not None or split.targets is None:
            return self
        try:
            return replace(self, measurements=(*self.measurements, deployer.quality(self.artifact, split, where)))
        except DeviceFailed as e:
            return replace(self, error=str(e))


@dataclass(frozen=True)
class Deployer:
    """Exports, verifies, times and scores networks for one data set on one device."""

    timing: Latencies
    dataset: Dataset
    metadata: Mapping[str, str] = field(default_factory=dict)

    def export(self, network: Network) -> Artifact:
        """The file; int8 ranges come from calibration inputs (train).

        Raises:
            ChipfitError: the file's answers are not the network's.
        """
        known = self.ranges(network)
        artifact = self.timing.write(network, known, self.notes())
        for device, part in self.timing.parts(artifact):
            self._verify(device, part, network, self._calibration(CHECKED), known)
        return artifact

    def ranges(self, network: Network) -> dict[str, tuple[float, float]] | None:
        """Where the tensors of a network are clipped in int8, from calibration inputs (train); None in float."""
        low = any(o.bits == 8 for o in network.graph)
        return ranges(network, self._calibration(256)) if low else None

    def _calibration(self, n: int) -> NDArray[np.float32]:
        return self.dataset.normalise(self.dataset.calibration(256).inputs)[:n]

    def notes(self) -> dict[str, str]:
        """What the file says of its inputs and of where it comes from."""
        d = self.dataset
        if d.of_tokens:
            return {"input": "numbers of tokens", "classes": ", ".join(d.classes), **self._task(), **self.metadata}
        scale = "pixels / 255, then " if d.train.inputs.dtype == np.uint8 else ""
        return {
            "input": f"{scale}(x - mean) / std",
            "mean": ", ".join(map(str, d.mean)),
            "std": ", ".join(map(str, d.std)),
            "classes": ", ".join(d.classes),
            **self._task(),
            **self.metadata,
        }

    def _task(self) -> dict[str, str]:
        """What the network is for, of any task but classification."""
        return {} if self.dataset.task.name == CLASSIFICATION.name else {"task": self.dataset.task.name}

    def _verify(
        self,
        device: Device,
        artifact: Artifact,
        network: Network,
        inputs: NDArray[np.float32],
        known: Mapping[str, tuple[float, float]] | None,
    ) -> None:
        got = device.run(artifact, inputs)
        if known is None:
            written = as_written(network, artifact.format)
            with torch.inference_mode():
                want = build(written)(torch.from_numpy(inputs)).numpy()
            least = max(LEAST_SCALE, least_scale(network.graph))
            error, allowed = float(np.abs(got - want).max()), FLOAT_TOLERANCE
        else:
            want = fake_quantised(network, known, inputs, reduce_range=device.facts().reduce_range)
            # rounding ties and fused requantisation move single codes: the mean error tells a wrong file from those
            error, allowed, least = float(np.abs(got - want).mean()), 0.05, 1.0
        scale = max(least, float(np.abs(want).max()))
        if not np.isfinite(error) or error > allowed * scale:
            raise ChipfitError(
                f"the exported file answers differently from the network (error {error / scale:.2g} of the largest "
                f"answer, allowed {allowed:g}); this is a fault of the exporter or of the runtime"
            )

    def files(self, networks: Sequence[Network]) -> list[Deployed]:
        """The files of some networks, with latencies from one sitting, sizes and counts.

        What a runtime refuses, crashes or hangs on, twice where its process died, costs that network its file and not
        the run.
        """
        made = [self._file(network) for network in networks]
        good = [d.artifact for d in made if d.error is None]
        latencies = iter(self.latency(good, "final") if good else [])
        return [d if d.error is not None else self.timed(d.artifact, next(latencies)) for d in made]

    def _file(self, network: Network) -> Deployed:
        try:
            return Deployed(self.export(network))
        except (BadInput, Infeasible):  # what was given cannot be used: nothing would come of going on
            raise
        except ChipfitError as e:
            nothing = Artifact(self.timing.device.format, b"", network.graph)
            return Deployed(nothing, (failed(str(e), self.timing.facts.fingerprint),), str(e))

    def timed(self, artifact: Artifact, latency: Measurement) -> Deployed:
        """A file with its latency, sizes and counts; an error where the latency could not be taken."""
        error = reason(latency) if math.isnan(latency.value) else None
        return Deployed(artifact, (latency, *self.sizes(artifact, latency)), error)

    def latency(self, artifacts: Sequence[Artifact], fidelity: Fidelity, *, sitting: int = 1) -> list[Measurement]:
        """Milliseconds of each file, in one sitting."""
        return self.timing.artifacts(artifacts, fidelity, sitting=sitting)

    def quality(self, artifact: Artifact, split: Split, where: str) -> Measurement:
        """The task's metric of the file itself, on the device where it is worst; the spread is its error."""
        if split.targets is None:
            raise ValueError("a score needs targets")
        task, parts = self.dataset.task, self.timing.parts(artifact)
        scored = [task.scored() for _ in parts]
        for piece in split.pieces(artifact.graph[artifact.graph.output].size):
            inputs = self.dataset.normalise(piece.inputs)
            assert piece.targets is not None
            for one, (device, part) in zip(scored, parts, strict=True):
                one.add(device.run(part, inputs), piece.targets)
        metric, n = task.metric, len(split)
        value, error = min((one.result() for one in scored), key=lambda found: metric.rank(found[0]))
        return Measurement(metric.name, value, "measured", where, f"exported file, {n} inputs", error, n)

    def sizes(self, artifact: Artifact, latency: Measurement) -> tuple[Measurement, ...]:
        """Megabytes of the (largest) file, and the counts of its graph; memory as the device told it, if it did."""
        counts = counted(artifact.graph)
        if (told := latency.details.get(MEMORY)) is not None:
            memory = Measurement(MEMORY, told, latency.provenance, latency.where, latency.protocol)
            counts = tuple(memory if m.metric == MEMORY else m for m in counts)
        size_mb = max(part.size_mb for _, part in self.timing.parts(artifact))
        return (Measurement("size_mb", size_mb, "measured"), *counts)
