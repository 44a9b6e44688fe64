"""How the laws themselves are tested: which of them a wrong object breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chipfit.device.processor import Processor


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


COMPARE_TIMES = ("test_an_artifact_is_as_fast_as_itself",)
"""Laws that compare times which a device takes: on one that measures, a busy machine breaks them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks those laws as timed on devices that measure; counted and simulated ones keep them everywhere."""
    for item in items:
        kind = getattr(getattr(item, "cls", None), "kind", None)
        if item.name in COMPARE_TIMES and isinstance(kind, type) and issubclass(kind, Processor):
            item.add_marker(pytest.mark.timed)
