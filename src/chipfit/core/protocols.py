"""The ports between stages. Anything that meets one can stand in for what ships with the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph
from chipfit.core.types import Artifact, Candidate, DeviceFacts, Fidelity, Measurement, OpTime, Trial


@runtime_checkable
class Space(Protocol):
    """What may vary. Owns its variation, so that no strategy needs to know what it varies.

    `decode(encode(c))` gives `c` back, and `decode` repairs any integers within `upper` to a valid candidate.
    """

    @property
    def upper(self) -> NDArray[np.int64]:
        """(genes,) largest value of each integer gene; the smallest is 0."""
        ...

    def sample(self, rng: np.random.Generator) -> Candidate: ...
    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate: ...
    def cross(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate: ...
    def encode(self, candidate: Candidate) -> NDArray[np.int64]: ...
    def decode(self, genes: NDArray[np.int64]) -> Candidate: ...


@runtime_checkable
class Strategy(Protocol):
    """Who proposes. Gets plain data, never the engine; the same replies give the same proposals."""

    def ask(self, n: int) -> list[Candidate]:
        """Up to `n` candidates that were not proposed before; fewer, or none, when the space is used up."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None: ...


@runtime_checkable
class Evaluator(Protocol):
    """Candidates in, trials out, in order; a candidate that fails becomes a trial with an error."""

    def __call__(self, candidates: Sequence[Candidate]) -> list[Trial]: ...


@runtime_checkable
class Comparing(Protocol):
    """A device that can also time two files run by run against each other, which is surer than two latencies."""

    def compare(self, a: Artifact, b: Artifact) -> Measurement:
        """`latency_ratio`: time of `a` over time of `b`, with its standard error."""
        ...


@runtime_checkable
class Deciding(Protocol):
    """A device that measures no longer than a decision takes, and as long as it takes."""

    def decide(self, artifacts: Sequence[Artifact], limit_ms: float) -> list[Measurement]:
        """Final latencies: less sure far from the limit, surer near to it, until the side is clear."""
        ...


@runtime_checkable
class Foretelling(Protocol):
    """A device that is not here: its latencies are foretold, of whole networks like those that were timed on it only.

    Chains of a few operators, from which other devices' menus are priced, are nothing that it could tell about.
    """

    def foretell(self, graphs: Sequence[Graph]) -> list[Measurement]:
        """Predicted `latency_ms` of each network, with the ends of its interval in the details."""
        ...


Node = tuple[str, str, float]
"""What a runtime executes: its name, the runtime's word for it, and us."""


@runtime_checkable
class Observing(Protocol):
    """A device that can watch a file's operators for a moment, to tell what each takes where it stands.

    `by_cuts` where it has to run parts of the file for that, which takes seconds: then few files are watched.
    """

    @property
    def by_cuts(self) -> bool: ...
    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        """The nodes of a file with the mean time of each over so many runs, in running order.

        Raises:
            DeviceFailed: the artifact cannot be watched.
        """
        ...


@runtime_checkable
class Device(Protocol):
    """Returns numbers about artifacts of its `format`."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    def facts(self) -> DeviceFacts: ...
    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Latency of each artifact in ms; those given together share a sitting, so their ratios can be trusted.

        Raises:
            DeviceFailed: (per artifact, as a Measurement with value nan and details) is not raised here.
        """
        ...

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (n, ...) of the artifact for inputs (n, ...), as the runtime that ships it computes them."""
        ...

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """Time of each operator, slowest first."""
        ...

    def close(self) -> None: ...
