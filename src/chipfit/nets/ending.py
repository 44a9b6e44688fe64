"""Networks that end in a sigmoid or a softmax answer with probabilities: what losses and divergences make of them.

Such a network stays as it is, and so does its file. Where its answers are learnt or held against each other the
logarithms of probabilities take the place of logits, and of labels the logits themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chipfit.core.graph import Graph
from chipfit.core.kinds import KINDS
from chipfit.core.op import Op
from chipfit.core.task import Task

PROBABILITIES = frozenset({"softmax", "sigmoid", "hard_sigmoid"})
"""Kinds whose outputs are probabilities, where a network of classes or labels ends in one."""

LEAST, LEAST_LABEL = 1e-30, 1e-6
"""Probability that a class has at least in a logarithm, and a label of yes and of no: 1 - 1e-6 is told from 1."""


def ending(graph: Graph) -> Op:
    """The last operator that computes: those behind it only lay out its values."""
    last = graph[graph.output]
    while KINDS[last.kind].moves and len(last.inputs) == 1:
        last = graph[last.inputs[0]]
    return last


def ends_in_probabilities(graph: Graph) -> bool:
    """Whether the answers are a sigmoid's or a softmax's, but for how they are laid out."""
    return ending(graph).kind in PROBABILITIES


def as_logits(answers: Tensor, task: Task) -> Tensor:
    """Answers (n, ...) as softmax, or of labels sigmoid, takes them; logits as they are."""
    if not task.probabilities:
        return answers
    if task.divergence == "bernoulli":
        return torch.logit(answers, LEAST_LABEL)
    return torch.log(answers.clamp_min(LEAST))
