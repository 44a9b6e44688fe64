"""What every test shares: one thread, a steady hypothesis, and the folder of large files that may be absent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One thread for whoever reads these: torch and onnxruntime when they are imported, and child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# Child processes find the package in a checkout that was not installed, too.
_SRC = str(Path(__file__).resolve().parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (_SRC, os.environ.get("PYTHONPATH")) if p)

settings.register_profile("chipfit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("chipfit"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "chipfit")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """One torch thread, without importing torch for the tests that do without."""
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository: real weights and pictures that cannot ship with it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    return folder
