"""Each kind of place as a fixture."""

from __future__ import annotations

import pytest

from chipfit.space.program import Place
from program_places import PLACES


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]
