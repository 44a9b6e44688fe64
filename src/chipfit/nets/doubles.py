"""What an operator computes, in float64 on numpy arrays: for hashes that are the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.core.graph import Op
from chipfit.nets.execute import execute

Values = NDArray[np.float64]


def execute_in_double(o: Op, arrays: Mapping[str, Values], reads: Sequence[Values]) -> Values:
    """The output of one operator, of its arrays by role and what it reads, with a batch axis."""
    given = {role: torch.from_numpy(array) for role, array in arrays.items()}
    inputs = [torch.from_numpy(np.ascontiguousarray(values)) for values in reads]
    with torch.no_grad():
        answer: Values = execute(o, given.__getitem__, *inputs).numpy()
    return answer
