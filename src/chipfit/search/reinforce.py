"""The published co-search by reinforcement learning: the baseline that exact search is compared with.

Source: HotNAS (arXiv 2007.09087) and its released controller. A recurrent cell (Zoph and Le, 2017) of 35 units reads
one gene after the other through an embedding each and gives the odds of each gene's options; a child is drawn from
them, and the odds of what was drawn are raised by how much better its reward is than those before it:

    loss = advantage * mean over genes of -log p(gene),    advantage = last reward - weighted mean of all rewards

    r_acc = +1 above A1, -1 below A0, else 2 (acc - A0) / (A1 - A0) - 1
    r_lat = -1 where nothing fits, L1 - lat above L1, +1 below L0, else 2 (L1 - lat) / (L1 - L0) - 1
    reward = alpha r_acc + (1 - alpha) r_lat

A child slower than L1 is not evaluated: its accuracy counts as 0. Children that were drawn before are not evaluated
again.

`faithful` runs it as it was released; otherwise three faults of it are repaired:

* The weights of the mean, exp(-1) to exp(0), were meant for the oldest to the latest reward, and were applied the other
  way round, so that the first reward weighs most for ever.
* When odds are raised, the input at gene i was the drawn gene i itself, which is what is to be foretold there: the cell
  may copy it. While drawing, it was gene i of the child before. Repaired, it is the gene before, in both.
* Weights of a child were rounded without a straight-through estimator, so that layers of fewer bits are not trained
  (`rounded`; for those who train children).

This is the one file of the room that loads torch, and nothing here imports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline

UNITS = 35
EPISODES = 2000
_ADAM, _RMSPROP, _HALVED_EVERY = 0.01, 0.99, 50

Genes = tuple[int, ...]
Score = Callable[[Genes], float]
Moments = tuple[torch.Tensor, torch.Tensor]
"""Output and memory of the cell, (1, units) each."""


@dataclass(frozen=True, slots=True)
class Reward:
    """What a child is worth: `accuracy` (A0, A1) in any unit, `latency_ms` (L0, L1), and the accuracy's share."""

    accuracy: tuple[float, float] = (80.0, 89.0)
    latency_ms: tuple[float, float] = (7.0, 10.0)
    alpha: float = 0.7

    def __call__(self, accuracy: float, latency_ms: float) -> float:
        """The reward of a child; an infinite latency says that nothing fits."""
        return self.alpha * self.of_accuracy(accuracy) + (1 - self.alpha) * self.of_latency(latency_ms)

    def of_accuracy(self, accuracy: float) -> float:
        """From -1 to 1."""
        low, high = self.accuracy
        return float(np.clip(2 * (accuracy - low) / (high - low) - 1, -1.0, 1.0))

    def of_latency(self, latency_ms: float) -> float:
        """At most 1; a latency above L1 has no lowest reward."""
        low, high = self.latency_ms
        if math.isinf(latency_ms):
            return -1.0
        if latency_ms > high:
            return high - latency_ms
        return min(1.0, 2 * (high - latency_ms) / (high - low) - 1)


@dataclass(frozen=True, slots=True)
class Child:
    """A drawn child. `accuracy` is 0 where it was too slow to be evaluated."""

    genes: Genes
    accuracy: float
    latency_ms: float
    reward: float


@dataclass(frozen=True, slots=True)
class Children:
    """What was drawn, in order, how many accuracies were asked for, and the most accurate child within the latency."""

    drawn: tuple[Child, ...]
    evaluations: int
    best: Child | None


def reinforce(
    sizes: Sequence[int],
    accuracy: Score,
    latency_ms: Score,
    reward: Reward,
    rng: np.random.Generator,
    *,
    episodes: int = EPISODES,
    optimiser: Literal["adam", "rmsprop"] = "adam",
    faithful: bool = False,
    deadline: Deadline | None = None,
) -> Children:
    """The children that a controller draws while it learns from their rewards.

    Args:
        sizes: options of each gene.
        accuracy: of a child; asked once for each, and not at all where it is slower than the reward's L1.
        latency_ms: of a child; infinite where it cannot be built.
        reward: what both are worth.
        rng: draws the first weights and the children.
        episodes: children.
        optimiser: Adam at a rate of 0.01, or RMSProp at 0.99 halved every 50 steps.
        faithful: with the faults of the released controller.
        deadline: no child is drawn after it.
    """
    until = deadline or Deadline.never()
    controller = Controller(sizes, rng)
    step, known = _Step(controller, optimiser), _Known(accuracy, latency_ms, reward)
    drawn: list[Child] = []
    before: Genes = (0,) * len(sizes)
    for _ in range(episodes):
        if until.passed():
            break
        genes = controller.draw(before, rng, faithful=faithful)
        drawn.append(known.child(genes))
        rewards = np.array([child.reward for child in drawn])
        step(controller.loss(genes, faithful=faithful), rewards[-1] - baseline(rewards, faithful=faithful))
        before = genes
    return Children(tuple(drawn), known.evaluations, known.best())


@dataclass(slots=True)
class _Known:
    """The children that were drawn so far, each evaluated once."""

    accuracy: Score
    latency_ms: Score
    reward: Reward
    children: dict[Genes, Child] = field(default_factory=dict)
    evaluations: int = 0

    def child(self, genes: Genes) -> Child:
        """The child of these genes, evaluated where it is new and not too slow."""
        if genes not in self.children:
            latency = self.latency_ms(genes)
            slow = latency > self.reward.latency_ms[1]
            reached = 0.0 if slow else self.accuracy(genes)
            self.evaluations += not slow
            self.children[genes] = Child(genes, reached, latency, self.reward(reached, latency))
        return self.children[genes]

    def best(self) -> Child | None:
        """The most accurate child within the latency."""
        within = [child for child in self.children.values() if child.latency_ms <= self.reward.latency_ms[1]]
        return max(within, key=lambda child: child.accuracy, default=None)


def baseline(rewards: NDArray[np.float64], *, faithful: bool = False) -> float:
    """The mean of all rewards, the latest weighing e times as much as the first; `faithful`: the other way round."""
    weights = np.exp(np.linspace(-1.0, 0.0, len(rewards)))
    weights /= weights.sum()
    return float(rewards @ (weights[::-1] if faithful else weights))


class Controller:
    """The recurrent cell with an embedding and a softmax for each gene. `parameters` are its tensors."""

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator) -> None:
        def uniform(*shape: int, most: float) -> torch.Tensor:
            values = rng.uniform(-most, most, shape).astype(np.float32)
            return torch.from_numpy(values).requires_grad_()

        fan = (6.0 / (9 * UNITS)) ** 0.5  # Glorot's, of a (units, 8 units) matrix
        self.sizes = tuple(sizes)
        self.embeddings = [uniform(n, UNITS, most=1.0) for n in sizes]
        self.from_input = uniform(UNITS, 8 * UNITS, most=fan)
        self.from_output = uniform(UNITS, 8 * UNITS, most=fan)
        self.heads = [uniform(UNITS, n, most=(6.0 / (UNITS + n)) ** 0.5) for n in sizes]
        self.biases = [torch.zeros(n, requires_grad=True) for n in sizes]

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Everything that is learnt."""
        return [*self.embeddings, self.from_input, self.from_output, *self.heads, *self.biases]

    def draw(self, before: Genes, rng: np.random.Generator, *, faithful: bool = False) -> Genes:
        """A child. `before` is the last one, which the released controller reads gene by gene."""
        genes: list[int] = []
        with torch.no_grad():
            state = self._start()
            for i in range(len(self.sizes)):
                seen = self.embeddings[i][[before[i]]] if faithful else self._gene_before(genes, i)
                state = self._cell(seen, state)
                odds = torch.softmax(self._logits(i, state), 1)[0].double().numpy()
                genes.append(int(rng.choice(self.sizes[i], p=odds / odds.sum())))
        return tuple(genes)

    def loss(self, genes: Genes, *, faithful: bool = False) -> torch.Tensor:
        """Mean cross-entropy of a child's genes, as the cell foretells them in training."""
        state = self._start()
        losses = []
        for i, gene in enumerate(genes):
            seen = self.embeddings[i][[gene]] if faithful else self._gene_before(genes, i)
            state = self._cell(seen, state)
            losses.append(torch.nn.functional.cross_entropy(self._logits(i, state), torch.tensor([gene])))
        return torch.stack(losses).mean()

    def _gene_before(self, genes: Sequence[int], i: int) -> torch.Tensor:
        """(1, units) the embedding of the gene before the i-th, zeros before the first."""
        return self.embeddings[i - 1][[genes[i - 1]]] if i else torch.zeros(1, UNITS)

    def _logits(self, i: int, state: Moments) -> torch.Tensor:
        return state[0] @ self.heads[i] + self.biases[i]

    @staticmethod
    def _start() -> Moments:
        return torch.zeros(1, UNITS), torch.zeros(1, UNITS)

    def _cell(self, seen: torch.Tensor, state: Moments) -> Moments:
        """One step of the searched cell: four pairs of gated sums and products, joined two by two."""
        output, memory = state
        x = (seen @ self.from_input).chunk(8, 1)
        h = (output @ self.from_output).chunk(8, 1)
        first = torch.tanh(torch.sigmoid(x[0] + h[0]) * torch.relu(x[1] + h[1]))
        second = torch.tanh(torch.sigmoid(x[2] + h[2]) + torch.relu(x[3] * h[3]))
        third = torch.tanh(torch.tanh(x[4] + h[4]) * torch.sigmoid(x[5] + h[5]))
        fourth = torch.sigmoid(torch.tanh(x[6] + h[6]) + torch.sigmoid(x[7] + h[7]))
        memory = torch.tanh(first + memory) * second
        return torch.tanh(memory * torch.tanh(third + fourth)), memory


class _Step:
    """One step of the optimiser for each child."""

    def __init__(self, controller: Controller, optimiser: str) -> None:
        parameters = controller.parameters
        self._optimiser: torch.optim.Optimizer
        if optimiser == "adam":
            self._optimiser = torch.optim.Adam(parameters, _ADAM)
            self._halving = None
        else:
            self._optimiser = torch.optim.RMSprop(parameters, _RMSPROP)
            self._halving = torch.optim.lr_scheduler.StepLR(self._optimiser, _HALVED_EVERY, 0.5)

    def __call__(self, loss: torch.Tensor, advantage: float) -> None:
        self._optimiser.zero_grad()
        (loss * advantage).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        if self._halving is not None:
            self._halving.step()


def rounded(weights: torch.Tensor, integer: int, fraction: int, *, faithful: bool = False) -> torch.Tensor:
    """Signed fixed-point weights of so many integer bits (the sign among them) and bits of fraction.

    Their gradient is that of the weights; `faithful`: none, as rounding has it.
    """
    most = 2.0 ** (integer - 1)
    fixed = torch.clamp(torch.floor(weights * 2.0**fraction + 0.5) / 2.0**fraction, -most, most - 2.0**-fraction)
    return fixed if faithful else weights + (fixed - weights).detach()
