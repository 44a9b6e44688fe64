"""How the laws themselves are tested: which of them a wrong object breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def breaches(laws: object) -> set[str]:
    """Names of the laws that do not hold."""
    found = set()
    for name in dir(laws):
        if name.startswith("test_"):
            try:
                getattr(laws, name)()
            except pytest.skip.Exception:
                pass
            except Exception:
                found.add(name.removeprefix("test_"))
    return found


@pytest.fixture(name="breaches")
def _breaches() -> Callable[[object], set[str]]:
    return breaches
