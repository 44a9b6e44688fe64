"""A grammar of what goes wrong at the front door: files, tables, configurations and arguments, each a command line."""

from __future__ import annotations

import numpy as np
from front_case import Case
from front_code import loaders, models
from front_files import pictures, weights
from front_tables import tables
from front_words import arguments, configurations, onnx_files, runs


def cases(rng: np.random.Generator) -> list[Case]:
    """All of them; numbers and cuts are drawn."""
    makers = (arguments, weights, pictures, loaders, models, configurations, tables, runs, onnx_files)
    return [case for make in makers for case in make(rng)]
