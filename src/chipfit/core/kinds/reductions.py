"""Kinds that take whole axes together, and those that give a map another size.

reduce_mean, reduce_sum, reduce_max, reduce_min
            axes (tuple, ascending, without the batch axis); keep (0/1): they stay, as 1
reduce_var  the same, and correction (float): by how much the number of values is lowered in the mean of squares
resize      the two last axes to those of its shape: mode ("nearest", "linear" or "cubic"); align (0/1): corner values
            meet corner values, else areas meet; scales (pair of floats): how much larger, where that is not quite the
            ratio of the sizes
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind

REDUCTIONS = (
    Kind("reduce_mean", "reduction", "reduces", ("axes", "keep")),
    Kind("reduce_sum", "reduction", "reduces", ("axes", "keep")),
    Kind("reduce_max", "reduction", "reduces", ("axes", "keep")),
    Kind("reduce_min", "reduction", "reduces", ("axes", "keep")),
    Kind("reduce_var", "reduction", "reduces", ("axes", "keep", "correction")),
)

RESIZES = (Kind("resize", "resize", "passes", ("mode", "align"), ("scales",)),)
