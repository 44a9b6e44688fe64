"""The rule of each ONNX operator, by its name."""

from __future__ import annotations

from chipfit.nets.onnx import layers, norms, pointwise, pools, recurrent, resize, views
from chipfit.nets.onnx.call import Rule

RULES: dict[str, Rule] = {
    **layers.TABLE, **norms.TABLE, **pointwise.TABLE, **pools.TABLE, **views.TABLE, **resize.TABLE,
    **recurrent.TABLE,
}  # fmt: skip
