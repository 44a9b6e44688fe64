from __future__ import annotations

from contextlib import nullcontext

import pytest

from chipfit.device.engines import engine
from chipfit.device.engines.engine import cut_times


@pytest.mark.parametrize(("seconds", "rounds"), [(1e9, 3 + 40), (0.0, engine.CUTS_LEAST)])
def test_cuts_that_take_too_long_run_fewer_rounds(monkeypatch: pytest.MonkeyPatch, seconds: float, rounds: int) -> None:
    monkeypatch.setattr(engine, "CUTS_S", seconds)
    calls: list[int] = []
    times = cut_times([lambda: calls.append(0), lambda: calls.append(1)], 3, 40, nullcontext)
    assert calls == [0, 1] * rounds
    assert len(times) == 2
    assert min(times) >= 0
