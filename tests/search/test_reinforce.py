from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.core.deadline import Deadline
from chipfit.search.reinforce import Controller, Genes, Reward, baseline, reinforce, rounded

SIZES = (3, 4, 2)


def test_the_released_mean_weighs_the_first_reward_most() -> None:
    rewards = np.array([1.0, 0.0, 0.0, 0.0])
    weights = np.exp(np.linspace(-1.0, 0.0, 4))
    # as released: the first of the full convolution that covers all
    assert baseline(rewards, faithful=True) == pytest.approx(np.convolve(rewards, weights / weights.sum())[3])
    assert baseline(rewards, faithful=True) > baseline(rewards[::-1], faithful=True)
    assert baseline(rewards) < baseline(rewards[::-1])


def test_the_released_controller_is_shown_what_it_is_to_foretell() -> None:
    """Whether the odds of gene i depend on gene i: only then can the cell copy it."""
    controller = Controller(SIZES, np.random.default_rng(0))

    def slope(i: int, faithful: bool) -> float:
        for p in controller.parameters:
            p.grad = None
        controller.loss((1, 2, 1), faithful=faithful).backward()
        grad = controller.embeddings[i].grad
        return 0.0 if grad is None else float(grad[(1, 2, 1)[i]].abs().sum())

    assert slope(2, faithful=True) > 0
    assert slope(2, faithful=False) == 0  # nothing is foretold after the last gene
    assert slope(1, faithful=False) > 0


def test_the_repaired_controller_learns_from_what_it_drew_from() -> None:
    """While drawing and while learning the cell sees the same, so that its odds are those of the child."""
    controller = Controller(SIZES, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    drawn = [controller.draw((0, 0, 0), rng) for _ in range(4000)]
    child = max(set(drawn), key=drawn.count)
    share = drawn.count(child) / len(drawn)
    with torch.no_grad():
        odds = float(torch.exp(-len(SIZES) * controller.loss(child)))
    assert odds == pytest.approx(share, abs=0.02)


def test_rewards_are_those_of_the_paper() -> None:
    reward = Reward((80.0, 90.0), (7.0, 10.0), alpha=0.7)
    assert reward(95.0, 6.0) == pytest.approx(1.0)
    assert reward(85.0, 8.5) == pytest.approx(0.0)
    assert reward(70.0, 8.5) == pytest.approx(-0.7)
    assert reward(0.0, 30.0) == pytest.approx(-0.7 + 0.3 * -20.0)
    assert reward(0.0, float("inf")) == pytest.approx(-1.0)


def run(**options: object) -> tuple[list[Genes], list[Genes], object]:
    asked: list[Genes] = []
    timed: list[Genes] = []

    def accuracy(genes: Genes) -> float:
        asked.append(genes)
        return 10.0 * genes[0] + genes[1]

    def latency(genes: Genes) -> float:
        timed.append(genes)
        return 1.0 + genes[0] + 5.0 * genes[2]

    settings = {"episodes": 150, **options}
    reward = Reward((0.0, 25.0), (1.0, 4.0))
    return asked, timed, reinforce(SIZES, accuracy, latency, reward, np.random.default_rng(0), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("faithful", [False, True])
def test_slow_children_and_known_ones_are_not_evaluated(faithful: bool) -> None:
    asked, timed, found = run(faithful=faithful)
    assert len(asked) == len(set(asked)) == found.evaluations  # type: ignore[attr-defined]
    assert len(timed) == len(set(timed)) <= 24
    assert all(1.0 + g[0] + 5.0 * g[2] <= 4.0 for g in asked)
    assert len(found.drawn) == 150  # type: ignore[attr-defined]


def test_it_comes_to_draw_what_is_rewarded() -> None:
    _, _, found = run(episodes=400)
    late = [child.reward for child in found.drawn[-50:]]  # type: ignore[attr-defined]
    early = [child.reward for child in found.drawn[:50]]  # type: ignore[attr-defined]
    assert np.mean(late) > np.mean(early) + 0.3
    assert found.best.genes == (2, 3, 0)  # type: ignore[attr-defined]


def test_the_same_seed_draws_the_same() -> None:
    assert run(optimiser="rmsprop")[2] == run(optimiser="rmsprop")[2]


def test_no_child_is_drawn_after_the_deadline() -> None:
    assert run(deadline=Deadline.after(-1.0))[2].drawn == ()  # type: ignore[attr-defined]


def test_rounding_lets_gradients_through_unless_as_released() -> None:
    weights = torch.tensor([0.3, -0.26, 5.0], requires_grad=True)
    fixed = rounded(weights, 2, 2)
    torch.testing.assert_close(fixed, torch.tensor([0.25, -0.25, 1.75]))
    fixed.sum().backward()
    assert weights.grad is not None
    assert bool((weights.grad == 1).all())
    weights.grad = None
    rounded(weights, 2, 2, faithful=True).sum().backward()
    assert weights.grad is None or bool((weights.grad[:2] == 0).all())
