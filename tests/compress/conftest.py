"""Each network as a fixture."""

from __future__ import annotations

import pytest

from chipfit.core.graph import Network
from compress.networks import NAMES, network_of


@pytest.fixture(params=NAMES)
def net(request: pytest.FixtureRequest) -> Network:
    """Each of the zoo's families and of the awkward networks."""
    return network_of(request.param)
