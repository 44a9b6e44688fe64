"""What every strategy keeps: nothing twice, nothing after the space is used up, the same replies the same proposals."""

from __future__ import annotations

from collections.abc import Sequence

from chipfit.core.protocols import Strategy
from chipfit.core.types import Candidate, Trial


class StrategyLaws:
    """Subclass as `Test...`; give a strategy over a small space (at most a few hundred candidates) and its replies."""

    batch = 4
    """Candidates asked for at a time."""

    def strategy(self, seed: int) -> Strategy:
        """A new strategy; the same seed gives the same one."""
        raise NotImplementedError

    def reply(self, candidate: Candidate) -> Trial:
        """A trial of the candidate with every metric that the strategy needs; a function of the candidate alone."""
        raise NotImplementedError

    def size(self) -> int:
        """Distinct candidates in the space."""
        raise NotImplementedError

    def _replies(self, candidates: Sequence[Candidate]) -> list[Trial]:
        return [self.reply(c) for c in candidates]

    def _used_up(self, strategy: Strategy) -> list[Candidate]:
        """Every candidate until nothing more is proposed."""
        found: list[Candidate] = []
        while asked := strategy.ask(self.batch):
            assert len(asked) <= self.batch, f"{len(asked)} candidates, but {self.batch} were asked for"
            found += asked
            assert len(found) <= self.size(), f"more candidates than the {self.size()} of the space"
            strategy.tell(self._replies(asked))
        return found

    def test_it_meets_the_protocol(self) -> None:
        assert isinstance(self.strategy(0), Strategy), "a method of core.protocols.Strategy is missing"

    def test_asking_for_nothing_gives_nothing(self) -> None:
        assert self.strategy(0).ask(0) == []

    def test_it_can_be_asked_before_it_is_told(self) -> None:
        strategy = self.strategy(0)
        first, second = strategy.ask(self.batch), strategy.ask(self.batch)
        assert len(first) == min(self.batch, self.size())
        keys = [c.key for c in first + second]
        assert len(set(keys)) == len(keys), "a candidate was proposed twice"

    def test_nothing_is_proposed_twice_and_all_is_proposed(self) -> None:
        strategy = self.strategy(0)
        keys = [c.key for c in self._used_up(strategy)]
        assert len(set(keys)) == len(keys), "a candidate was proposed twice"
        assert len(keys) == self.size(), f"{len(keys)} of {self.size()} candidates were proposed"
        assert strategy.ask(self.batch) == [], "something is proposed after the space was used up"

    def test_the_same_replies_give_the_same_proposals(self) -> None:
        runs = []
        for _ in range(2):
            strategy = self.strategy(3)
            asked: list[Candidate] = []
            for n in (self.batch, 1, self.batch, 0, self.batch):
                new = strategy.ask(n)
                strategy.tell(self._replies(new))
                asked += new
            runs.append([c.key for c in asked])
        assert runs[0] == runs[1], "one seed and the same replies gave other proposals"

    def test_seeds_differ(self) -> None:
        if self.size() > 2 * self.batch:
            firsts = {tuple(c.key for c in self.strategy(seed).ask(self.batch)) for seed in range(5)}
            assert len(firsts) > 1, "five seeds gave the same first proposals"

    def test_failed_trials_are_survived(self) -> None:
        strategy = self.strategy(0)
        for n in range(4):
            asked = strategy.ask(self.batch)
            failed = [Trial(c, error="it did not compile") for c in asked[n % 2 :]]
            strategy.tell(self._replies(asked[: n % 2]) + failed)
        more = strategy.ask(self.batch)
        assert len(more) == min(self.batch, max(0, self.size() - 4 * self.batch)), "it stopped after failed trials"

    def test_trials_of_an_earlier_run_are_not_proposed_again(self) -> None:
        known = self.strategy(0).ask(self.batch)
        strategy = self.strategy(0)
        strategy.tell(self._replies(known))
        keys = {c.key for c in self._used_up(strategy)}
        assert not keys & {c.key for c in known}, "a candidate that was told is proposed again"
        assert len(keys) == self.size() - len(known)

    def test_telling_nothing_changes_nothing(self) -> None:
        a, b = self.strategy(1), self.strategy(1)
        b.tell([])
        assert [c.key for c in a.ask(self.batch)] == [c.key for c in b.ask(self.batch)]
