"""NASFLAT as a model: pretrained once on the source devices, then fitted to the few samples of each new device.

Akhauri and Abdelfattah, "On Latency Predictors for Neural Architecture Search", MLSys 2024. Pretraining pools all
devices; a transfer starts from those weights, with the device's embedding taken from the sources whose order of the
samples is most like its own, and trains everything.

What differs unless `faithful`, and why. Each network is evaluated once a batch and pairs are formed from its scores
(the same loss at an eighth of the work; the faithful mode does so too). Pairs are formed within a device, where they
mean something, and a regression on standardised logarithms stands beside them: the score then has a unit, and transfers
need no second scale from two extreme samples. The embedding starts from a mean over sources, not from one. A transfer
is repeated on `folds` x `repeats` parts of the samples: their mean predicts, and each sample has been left out of
`repeats` of them.

The faithful mode scales every device to [0, 1] by what may be known of it, its samples (the published code takes the
target's range from all networks), and turns scores into logarithms by least squares on the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Few, Floats, Ints, Networks, Predictor, Tables, rank_correlation
from chipfit.evaluate.latency.gnn import Network, Shape
from chipfit.evaluate.latency.gp import softmax

MARGIN = 0.1
"""Of the hinge loss, in units of the score."""

CLIP = 4.0
"""Standard deviations from the mean beyond which a logarithm is taken for this many: a degenerate network's 0.003 ms
would else rule the regression."""

SMALL = Shape(hidden=64, width=64, update=1, body=2, head=128)
"""Half the published widths, for spaces of one graph, where costs by position carry most: on source devices that were
left out as good for less than half the time. On cells it loses .01 of rank correlation there."""

CHUNK = 512
"""Networks that are evaluated at once."""


@dataclass(frozen=True)
class Schedule:
    """AdamW with a cosine from `rate` to 1e-6 over the epochs; `batch` counts networks."""

    epochs: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Graphs:
    """`tokens` (n, V) and `reads` (n, V, V): 1 at [i, b, a] where node b of network i reads node a."""

    tokens: Tensor
    reads: Tensor

    @classmethod
    def of(cls, networks: Networks, *, faithful: bool) -> Graphs:
        """As tensors. The published code knows of a chain only its layers, each reading itself."""
        tokens, edges = networks.tokens, networks.edges
        if faithful and _are_chains(edges):
            tokens = tokens[:, 1:-1]
            edges = np.broadcast_to(np.eye(tokens.shape[1], dtype=bool), (*tokens.shape, tokens.shape[1]))
        return cls(torch.tensor(tokens), torch.tensor(np.swapaxes(edges, 1, 2), dtype=torch.float32))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Tensor | slice) -> Graphs:
        return Graphs(self.tokens[rows], self.reads[rows])


def _are_alike(edges: NDArray[np.bool_]) -> bool:
    return bool((edges == edges[:1]).all())


def _are_chains(edges: NDArray[np.bool_]) -> bool:
    return bool((edges == np.eye(edges.shape[1], k=1, dtype=bool)).all())


def hinge(scores: Tensor, values: Tensor, pairs: Tensor | None = None) -> Tensor:
    """Mean of max(0, margin - sign(y_i - y_j)(s_i - s_j)) over pairs of unequal values.

    `scores` and `values` are (..., n): pairs are formed within the last axis, all of them or the (2, p) given; NaN
    values form none. Without any pair the loss is 0.
    """
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1) if pairs is None else pairs
    sign = torch.sign(values[..., i] - values[..., j]).nan_to_num()
    losses = F.relu(MARGIN - sign * (scores[..., i] - scores[..., j])) * (sign != 0)
    return losses.sum() / (sign != 0).sum().clamp(min=1)


def graded(scores: Tensor, values: Tensor) -> Tensor:
    """Huber loss of the scores plus half the hinge loss within each row; NaN values are passed over."""
    known = ~values.isnan()
    return 2 * F.smooth_l1_loss(scores[known], values[known]) + hinge(scores, values) / 2


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """Draws from `rng` decide what torch draws, whose own state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        yield


def _train(parameters: list[Tensor], schedule: Schedule, n: int, loss: Callable[[Tensor], Tensor]) -> None:
    """Minimises `loss` of the rows of each batch; n rows an epoch."""
    optimizer = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=1e-5, fused=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.epochs, 1e-6)
    for _ in range(schedule.epochs):
        for rows in torch.split(torch.randperm(n), schedule.batch):
            optimizer.zero_grad()
            loss(rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        cosine.step()


@dataclass(frozen=True)
class Nasflat:
    """The graph neural network, pretrained on at most `networks` networks of the tables, drawn at random.

    `folds` x `repeats` transfers are averaged; the faithful mode predicts by one to all samples, and needs `folds` more
    to know what it foretells of samples that it has not seen.
    """

    faithful: bool = False
    networks: int = 512
    pretraining: Schedule = Schedule(epochs=20, batch=32, rate=1e-3)
    transfer: Schedule = Schedule(epochs=40, batch=16, rate=1e-3)
    folds: int = 5
    repeats: int = 1

    @classmethod
    def published(cls, *, chains: bool) -> Nasflat:
        """The published behaviour and schedules, for spaces of cells (NAS-Bench-201) or of chains (FBNet)."""
        transfer = Schedule(30, 16, 1e-3) if chains else Schedule(40, 16, 3e-3)
        return cls(True, 800 if chains else 512, Schedule(150, 128, 1e-3), transfer)

    def prepare(self, tables: Tables, rng: np.random.Generator) -> Pretrained:
        """Pretrains.

        Raises:
            BadInput: the tables have no device.
        """
        if not tables.devices:
            raise BadInput("a pretrained network needs the table of at least one other device")
        rows = rng.permutation(np.flatnonzero(~np.isnan(tables.values).all(1)))[: self.networks]
        graphs = Graphs.of(tables.networks.take(rows), faithful=self.faithful)
        values = torch.tensor(_unit(tables.values[rows], faithful=self.faithful)[0], dtype=torch.float32)
        tokens = tables.networks.tokens
        nodes = tokens.shape[1] if _are_alike(tables.networks.edges) else 0
        with _seeded(rng):
            network = self.network(int(tokens.max()) + 1, len(tables.devices), nodes)
            network.train()
            loss = _pooled(network, graphs, values) if self.faithful else _by_device(network, graphs, values)
            count = values.numel() if self.faithful else len(rows)
            _train(list(network.parameters()), self.pretraining, count, loss)
        return Pretrained(self, network.eval(), tables.devices)

    def network(self, operators: int, devices: int, nodes: int) -> Network:
        """A network with random weights; `nodes` is 0 where the graph tells them apart."""
        if self.faithful:
            return Network(Shape(published=True))
        return Network(replace(SMALL if nodes else Shape(), operators=operators, devices=devices, nodes=nodes))


def _unit(values: Floats, *, faithful: bool) -> tuple[Floats, Floats]:
    """(n, devices) standardised logarithms, or values from 0 to 1, and the (2, devices) location and scale of each."""
    if faithful:
        low = np.nanmin(values, 0)
        location, scale = low, np.nanmax(values, 0) - low
    else:
        values = np.log(values)
        location = np.nanmedian(values, 0)
        middle = np.nanquantile(values, 0.84, 0) - np.nanquantile(values, 0.16, 0)
        scale = np.maximum(middle / 2, np.nanstd(values, 0) / 10)  # whole ms: most may be equal
    scale = np.maximum(scale, 1e-6)
    return np.clip((values - location) / scale, -CLIP, CLIP), np.stack([location, scale])


def _pooled(network: Network, graphs: Graphs, values: Tensor) -> Callable[[Tensor], Tensor]:
    """Published: a batch of measurements on any device, at most four pairs a measurement, devices mixed."""

    def loss(rows: Tensor) -> Tensor:
        net, device = rows // values.shape[1], rows % values.shape[1]
        i, j = torch.triu_indices(len(rows), len(rows), 1)
        some = torch.randperm(len(i))[: 4 * len(rows)]
        part = graphs[net]
        scores = network(part.tokens, part.reads, network.device(device))
        return hinge(scores, values[net, device], torch.stack([i[some], j[some]]))

    return loss


def _by_device(network: Network, graphs: Graphs, values: Tensor) -> Callable[[Tensor], Tensor]:
    """A batch of networks on every device, all pairs within each device."""
    d = values.shape[1]

    def loss(rows: Tensor) -> Tensor:
        part = graphs[rows.repeat(d)]
        embeddings = network.device.weight[:d].repeat_interleave(len(rows), 0)
        return graded(network(part.tokens, part.reads, embeddings).view(d, -1), values[rows].T)

    return loss


@dataclass(frozen=True)
class Pretrained:
    """What the sources teach: the network and its embedding of each of `devices`, in this order."""

    model: Nasflat
    network: Network
    devices: tuple[str, ...]

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor:
        """Transfers to a device: see the head of this file.

        Raises:
            BadInput: fewer samples than folds; an operator that the tables' networks do not have.
        """
        n, folds, faithful = len(few.values), self.model.folds, self.model.faithful
        if n < folds:
            raise BadInput(f"{n} samples are too few for {folds} folds; give at least {folds}")
        _known(few.networks, self.network)
        graphs = Graphs.of(few.networks, faithful=faithful)
        foretold = self.foretold(few.networks)
        fits, told = [], np.zeros((self.model.repeats, n))
        with _seeded(rng):
            for repeat in range(self.model.repeats):
                fold = rng.permutation(n) % folds
                for k in range(folds):
                    kept, out = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
                    fit = self._transfer(graphs, few, foretold, kept)
                    told[repeat, out] = fit(graphs[torch.tensor(out)])
                    fits.append(fit)
            if faithful:
                fits = [self._transfer(graphs, few, foretold, np.arange(n))]
        return Transferred(fits, faithful, told.mean(0))

    def foretold(self, networks: Networks) -> Floats:
        """(n, devices) scores of networks on the source devices: standardised logarithms, unless faithful."""
        graphs = Graphs.of(networks, faithful=self.model.faithful)
        each = self.network.device.weight[: len(self.devices)].detach()
        return np.column_stack([_scores(self.network, graphs, device) for device in each])

    def _transfer(self, graphs: Graphs, few: Few, foretold: Floats, kept: Ints) -> _Fit:
        """The network fitted to the samples `kept`."""
        part, y = graphs[torch.tensor(kept)], np.log(few.values[kept])
        scaled, (location, scale) = _unit(few.values[kept], faithful=self.model.faithful)
        network = deepcopy(self.network).train()
        alike = np.array([rank_correlation(source, y) for source in foretold[kept].T])
        weight = np.eye(len(alike))[alike.argmax()] if self.model.faithful else softmax(alike / TEMPERATURE)
        start = torch.tensor(weight, dtype=torch.float32) @ network.device.weight[: len(alike)].detach()
        device = torch.nn.Parameter(start)
        values, lose = torch.tensor(scaled, dtype=torch.float32), hinge if self.model.faithful else graded

        def loss(rows: Tensor) -> Tensor:
            some = part[rows]
            return lose(network(some.tokens, some.reads, device.expand(len(rows), -1)), values[rows])

        _train([*network.parameters(), device], self.model.transfer, len(kept), loss)
        network.eval()
        if self.model.faithful:
            scores = _scores(network, part, device.detach())
            slope = np.cov(scores, y)[0, 1] / max(scores.var(ddof=1), 1e-12)
            scale = max(slope, 1e-6)  # never against the score
            location = y.mean() - scale * scores.mean()
        return _Fit(network, device.detach(), float(location), float(scale))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that `Pretrained.of` needs beside the model and the devices' names: arrays by name."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}

    @classmethod
    def of(cls, model: Nasflat, devices: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> Pretrained:
        """What `arrays` of the same model were taken from."""
        operators, devices_kept = len(arrays["operator.weight"]), len(arrays["device.weight"])
        with torch.random.fork_rng(devices=[]):
            network = model.network(operators, devices_kept, len(arrays.get("position", ())))
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return cls(model, network.eval(), devices)


TEMPERATURE = 0.1
"""Of the mean over sources that a device's embedding starts from: .1 of rank correlation weighs a source e times."""


@dataclass(frozen=True)
class _Fit:
    """A network fitted to a device, and the line from its scores to logarithms."""

    network: Network
    device: Tensor
    location: float
    scale: float

    def __call__(self, graphs: Graphs) -> Floats:
        return self.location + self.scale * _scores(self.network, graphs, self.device)


@dataclass(frozen=True)
class Transferred:
    """The mean of several transfers to one device."""

    fits: list[_Fit]
    faithful: bool
    left_out: Floats

    def predict(self, networks: Networks) -> Floats:
        """(n,) logarithms.

        Raises:
            BadInput: an operator that the tables' networks do not have.
        """
        _known(networks, self.fits[0].network)
        graphs = Graphs.of(networks, faithful=self.faithful)
        return np.asarray(np.mean([fit(graphs) for fit in self.fits], 0))


def _known(networks: Networks, network: Network) -> None:
    for i, node in np.argwhere(networks.tokens >= network.shape.operators)[:1]:
        kind, limit = networks.tokens[i, node], network.shape.operators - 1
        raise BadInput(f"network {networks.names[i]!r} has operator {kind}; the tables' networks have 0 to {limit}")


@torch.no_grad()
def _scores(network: Network, graphs: Graphs, device: Tensor) -> Floats:
    parts = [graphs[i : i + CHUNK] for i in range(0, len(graphs), CHUNK)]
    scores = [network(p.tokens, p.reads, device.expand(len(p), -1)) for p in parts]
    return np.asarray(torch.cat(scores).numpy(), np.float64)
