"""One training loop: complete one-cycle schedules, distillation from stored logits, averaged weights.

Built for two CPU cores: channels_last, data kept in memory as it is (uint8), augmentation on whole batches, the
teacher's logits computed once for a few fixed views instead of a teacher in the loop. bfloat16 autocast only where
the processor multiplies in it (AMX or AVX512-BF16); elsewhere it is more than ten times slower than float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core.data import Dataset, Split, in_file, release
from chipfit.core.deadline import Deadline
from chipfit.nets.accelerator import fast_bf16, here
from chipfit.train.held import Held
from chipfit.train.losses import loss_of
from chipfit.train.memory import Pieces, in_halves
from chipfit.train.optimiser import is_adaptive, optimiser_of
from chipfit.train.pace import Pace
from chipfit.train.units import groups, in_unit, last_parameters, unit_of


@dataclass(frozen=True, slots=True)
class Schedule:
    """A complete one-cycle of SGD with Nesterov momentum, or of AdamW where a network asks for it (`optimiser`).

    `steps` batches in all; the rate rises to `peak` over the first `warm_up` of them and falls as a cosine. Where time
    does not allow so many, the cycle is a shorter one, and complete (`pace`).
    Running statistics of batch norm are frozen after `freeze_bn` of the steps, and the weights of the last
    `average` of them are averaged.
    """

    steps: int
    peak: float = 0.1
    batch: int = 128
    warm_up: float = 0.25
    weight_decay: float = 5e-4
    momentum: float = 0.9
    clip: float | None = 2.0
    freeze_bn: float = 0.67
    average: float = 0.1

    def rate(self, done: float) -> float:
        """Learning rate where a share (0..1) of the cycle is done."""
        if done < self.warm_up:
            return self.peak * (0.04 + 0.96 * done / self.warm_up)
        return self.peak * 0.5 * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up)))

    def freezes(self, done: float) -> bool:
        """True from the step on at which the running statistics are frozen."""
        return int(done * self.steps + 1e-6) >= int(self.freeze_bn * self.steps)


@dataclass(frozen=True, slots=True)
class Trained:
    """Steps that a training has done, and whether its cycle came to its end: the rate down, the weights averaged."""

    steps: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Views:
    """A teacher's answers (views, n, ...) for fixed views of the training inputs: float16 logits, or float32 numbers.

    `shifts` holds (flip, dy, dx) of each view.
    """

    logits: Tensor
    shifts: tuple[tuple[bool, int, int], ...]


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """So many threads for torch within."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def placed(net: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, its kernels channels_last, which is 1.6 times faster on processors."""
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def as_tensor(split: Split) -> Tensor:
    """The split's inputs as they are stored (uint8 or float32), contiguous; what is mapped from a file stays there."""
    if in_file(split.inputs) is not None:
        return torch.from_numpy(split.inputs)
    return torch.from_numpy(np.array(split.inputs))  # a copy: arrays read from a buffer are read-only


def normaliser(dataset: Dataset) -> Callable[[Tensor], Tensor]:
    """A function from stored inputs to what the network sees, channels_last."""
    shape = (1, -1) + (1,) * (len(dataset.input_shape) - 1)
    mean, std = (torch.tensor(v).reshape(shape) for v in (dataset.mean, dataset.std))

    def normalise(x: Tensor) -> Tensor:
        y = x.float() / 255.0 if x.dtype == torch.uint8 else x.float()
        y = (y - mean.to(y.device)) / std.to(y.device)
        return y.contiguous(memory_format=torch.channels_last) if y.ndim == 4 else y

    return normalise


def shifted(x: Tensor, flip: bool, dy: int, dx: int) -> Tensor:
    """A view of a batch (n, C, H, W): mirrored, then moved by (dy, dx) pixels with zeros coming in."""
    y = x.flip(-1) if flip else x
    if not (dy or dx):
        return y
    h, w = y.shape[-2:]
    pad = max(abs(dy), abs(dx))
    return F.pad(y, (pad, pad, pad, pad))[..., pad - dy : pad - dy + h, pad - dx : pad - dx + w]


def random_views(x: Tensor, dataset: Dataset, rng: np.random.Generator) -> Tensor:
    """Each picture mirrored at random and moved by up to `dataset.shift` pixels, picture by picture."""
    if x.ndim != 4:
        return x
    n, _, h, w = x.shape
    if dataset.flip:
        mirror = torch.from_numpy(rng.random(n) < 0.5).to(x.device)
        x = torch.where(mirror.view(-1, 1, 1, 1), x.flip(-1), x)
    if s := dataset.shift:
        moves = torch.from_numpy(rng.integers(0, 2 * s + 1, (2, n))).to(x.device)
        count = partial(torch.arange, device=x.device)
        rows = (count(h) + moves[0, :, None])[:, None, :, None]
        columns = (count(w) + moves[1, :, None])[:, None, None, :]
        x = F.pad(x, (s, s, s, s))[count(n)[:, None, None, None], count(x.shape[1])[None, :, None, None], rows, columns]
    return x


def train(
    net: nn.Module,
    dataset: Dataset,
    schedule: Schedule,
    rng: np.random.Generator,
    *,
    teacher: Views | None = None,
    deadline: Deadline | None = None,
    on_step: Callable[[int, float], None] | None = None,
    pieces: Pieces | None = None,
) -> Trained:
    """Trains `net` in place on a complete cycle: of fewer steps than asked where the deadline would come before.

    Pruned kernels keep their zeros, and fixed-point weights end on their grid (`held`).

    With labels the loss is the task's, with a teacher half of it and half what draws the answers towards the
    teacher's (`losses`); without labels the latter alone. `pieces` tells afterwards into how many pieces a GPU's memory
    cut the batches.

    Raises:
        ValueError: neither labels nor a teacher.
    """
    if not dataset.labelled and teacher is None:
        raise ValueError("training needs labels or a teacher")
    normalise, feed = normaliser(dataset), _Feed(dataset, teacher, schedule.batch, rng)
    placed(net, here()).train()
    unit = unit_of(dataset.task)
    last = last_parameters(net, unit)
    parts = groups(net, schedule.weight_decay, unit)
    optimiser = optimiser_of(parts, schedule.peak, momentum=schedule.momentum, adaptively=is_adaptive(net))
    forget = partial(optimiser.zero_grad, set_to_none=True)
    averaged, held, pieces = _Average(net), Held(net), pieces or Pieces()
    pace, frozen = Pace(schedule.steps, deadline or Deadline.never()), False
    while not pace.ended:
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * schedule.rate(pace.progress)
        if not frozen and schedule.freezes(pace.progress):
            freeze_statistics(net)
            frozen = True
        batch = feed.next()
        forget()
        with held.rounded():
            backward = partial(_backward, net, normalise, partial(loss_of, dataset.task), batch)
            loss = pieces.add_up(backward, torch.arange(len(batch.inputs)), forget)
        held.mask_gradients()
        in_unit(last, unit)
        if schedule.clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), schedule.clip)
        optimiser.step()
        pace.step()
        if pace.progress > 1 - schedule.average:
            averaged.add()
        if on_step is not None:
            on_step(pace.steps - 1, float(loss.detach()))
    averaged.write()
    held.settle()
    net.eval()
    return Trained(pace.steps, pace.whole)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Stored inputs, targets and the teacher's logits of one step, where it is computed."""

    inputs: Tensor
    targets: Tensor | None
    teacher: Tensor | None


class _Feed:
    """The batches of a training: rows in random order, a batch in one of the teacher's views, or each row in its own.

    What is left of an order is dropped where it does not fill a batch.
    """

    def __init__(self, dataset: Dataset, teacher: Views | None, batch: int, rng: np.random.Generator) -> None:
        self.dataset, self.teacher, self.batch, self.rng = dataset, teacher, batch, rng
        self.inputs = as_tensor(dataset.train)
        self.targets = None if dataset.train.targets is None else torch.from_numpy(dataset.train.targets)
        self._order, self._at = rng.permutation(len(self.inputs)), 0

    def next(self) -> _Batch:
        """The batch of the next step."""
        if self._at + self.batch > len(self.inputs):
            self._order, self._at = self.rng.permutation(len(self.inputs)), 0
        rows = torch.from_numpy(self._order[self._at : self._at + self.batch])
        self._at += self.batch
        targets = None if self.targets is None else self.targets[rows].to(here())
        if self.teacher is None:
            return _Batch(random_views(self._rows(rows), self.dataset, self.rng), targets, None)
        view = int(self.rng.integers(len(self.teacher.shifts)))
        x = shifted(self._rows(rows), *self.teacher.shifts[view])
        return _Batch(x, targets, self.teacher.logits[view, rows].to(here()).float())

    def _rows(self, rows: Tensor) -> Tensor:
        x = self.inputs[rows].to(here())
        release(self.dataset.train.inputs)
        return x


Loss = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""From answers, targets and the teacher's answers, of which one may be missing, to a number."""


def _backward(
    net: nn.Module, normalise: Callable[[Tensor], Tensor], loss_of: Loss, batch: _Batch, rows: Tensor, share: float
) -> Tensor:
    """Adds the gradients of these rows of a batch, which are `share` of it, and returns their share of the loss."""
    x = batch.inputs if share == 1.0 else batch.inputs[rows]
    with torch.autocast(x.device.type, torch.bfloat16, enabled=fast_bf16()):
        answers = net(normalise(x)).float()
    targets, teacher = (None if part is None else part[rows] for part in (batch.targets, batch.teacher))
    loss = share * loss_of(answers, targets, teacher)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def freeze_statistics(net: nn.Module) -> None:
    """Batch norm normalises with its running statistics from here on; scale and shift keep learning."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class _Average:
    """Running mean of the parameters over the last steps (the statistics are frozen by then)."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.n = 0
        self.mean: list[Tensor] = []

    def add(self) -> None:
        now = [p.detach() for p in self.net.parameters()]
        self.n += 1
        if self.n == 1:
            self.mean = [p.clone() for p in now]
        else:
            torch._foreach_lerp_(self.mean, now, 1.0 / self.n)

    def write(self) -> None:
        if self.n:
            with torch.no_grad():
                for p, m in zip(self.net.parameters(), self.mean, strict=True):
                    p.copy_(m)


def answered_at_once(dataset: Dataset) -> int:
    """Inputs that a network answers at once: 500 of up to 64 x 64 pixels in colour, fewer of larger ones.

    What a network holds of a batch grows with the pixels: 500 of 224 x 224 take gigabytes.
    """
    return min(500, max(16, 500 * 3 * 64 * 64 // max(1, math.prod(dataset.input_shape))))


@torch.inference_mode()
def logits_of(net: nn.Module, dataset: Dataset, inputs: Tensor) -> Tensor:
    """(n, ...) float32 answers in evaluation mode."""
    batch = answered_at_once(dataset)
    device, normalise = here(), normaliser(dataset)
    placed(net, device).eval()
    parts = [inputs[i : i + batch] for i in range(0, len(inputs), batch)]
    answers = [in_halves(lambda x: net(normalise(x)).float(), part.to(device)) for part in parts]
    return torch.cat([answer.cpu() for answer in answers])


def quality(net: nn.Module, dataset: Dataset, split: Split) -> float:
    """The value of the task's metric, such as the share of right answers, 0..1."""
    if split.targets is None:
        raise ValueError("a score needs targets")
    scored, batch = dataset.task.scored(), answered_at_once(dataset)
    for piece in split.pieces():
        for start in range(0, len(piece), batch):  # answers to pictures may be maps, larger than what they answer
            part = piece.take(slice(start, start + batch))
            assert part.targets is not None
            scored.add(logits_of(net, dataset, as_tensor(part)).numpy(), part.targets)
    return scored.result()[0]


accuracy = quality
"""What it is of a classification."""
