from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit
from chipfit.search import labels
from chipfit.search.design_costs import LATENCY
from chipfit.search.labels import TooMany, pareto
from joint_menus import Case, a_limit, cases, chain, pairs, problem_of


@given(cases(designs=(1, 1)), st.data(), st.sampled_from([0.0, 0.5, 3.0]))
@settings(max_examples=120)
def test_one_design_is_solved_exactly_whatever_the_multiplier(case: Case, data: st.DataObject, m: float) -> None:
    rows = pairs(*case)
    assume(rows)
    limit = Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows]))
    problem = problem_of(case, "damage", limit)
    within = [row[2] for row in rows if row[3] <= limit.value + problem.scale.cost_dust]
    found = pareto(problem, m, np.inf, Deadline.never())
    if not within:
        assert not found
        return
    assert found[0][1] == pytest.approx(min(within), abs=1e-5)
    assert found == sorted(found, key=lambda row: row[1])
    # what is not better than a known goal is not worth a label at the end
    assert not pareto(problem, m, min(within) - 1e-5, Deadline.never())
    assert pareto(problem, m, min(within) + 1e-5, Deadline.never())[0][0] == found[0][0]


def test_too_many_labels_and_no_time_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(chain(6, 1), "damage", Limit(LATENCY, 5.0))
    with pytest.raises(TooMany):
        pareto(problem, 0.1, np.inf, Deadline.after(-1.0))
    monkeypatch.setattr(labels, "MOST_LABELS", 2)
    with pytest.raises(TooMany):
        pareto(problem, 0.1, np.inf, Deadline.never())
