"""Fits a trained neural network to a chip: the best model within a budget, as a file that was measured there.

>>> import chipfit
>>> chipfit.Limit.parse("latency_ms=60%")
Limit(metric='latency_ms', value=0.6, relative=True, at_least=False)

The names below are imported when they are first used, so that `import chipfit` is quick and loads no framework.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chipfit.api.exporting import export as export_run
    from chipfit.api.quick import check, profile
    from chipfit.api.result import Model, Result, compare, open_run
    from chipfit.api.runs import fit, fit_each, resume
    from chipfit.core.data import Dataset, Split
    from chipfit.core.errors import BadInput, ChipfitError, Infeasible
    from chipfit.core.types import Limit, Measurement, Trial
    from chipfit.data.load import load_data

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime sends reports and leaves files of its own in the user's cache unless this is set before its import."""

__all__ = [
    "BadInput", "ChipfitError", "Dataset", "Infeasible", "Limit", "Measurement", "Model", "Result", "Split", "Trial",
    "check", "compare", "export_run", "fit", "fit_each", "load_data", "open_run", "profile", "resume",
]  # fmt: skip

_HOMES = {
    "BadInput": "core.errors:BadInput",
    "ChipfitError": "core.errors:ChipfitError",
    "Dataset": "core.data:Dataset",
    "Infeasible": "core.errors:Infeasible",
    "Limit": "core.types:Limit",
    "Measurement": "core.types:Measurement",
    "Model": "api.result:Model",
    "Result": "api.result:Result",
    "Split": "core.data:Split",
    "Trial": "core.types:Trial",
    "check": "api.quick:check",
    "compare": "api.result:compare",
    "export_run": "api.exporting:export",
    "fit": "api.runs:fit",
    "fit_each": "api.runs:fit_each",
    "load_data": "data.load:load_data",
    "open_run": "api.result:open_run",
    "profile": "api.quick:profile",
    "resume": "api.runs:resume",
}
"""Public name to module and name in it."""


def __getattr__(name: str) -> object:
    """A public name, imported at its first use and kept."""
    if name not in _HOMES:
        raise AttributeError(f"module 'chipfit' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"chipfit.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
