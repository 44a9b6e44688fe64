"""A torch module becomes a Graph and a flat dict of weights, through `torch.export`.

Tracing runs the module on fake tensors, so shapes come from the real forward pass. The program is functional
(`program`), each argument of each operator is bound by name (`rules.call`), arrays are those of the module's own
parameters (`rules.tracer`). Whatever has no rule is named in the error: nothing is guessed. Rewrites make what follows
simpler, all exact:

* a strided spatial slice with zero channels padded around it (the option-A shortcut of He et al. 2015) becomes a 1x1
  convolution with a 0/1 weight, which kernels run faster and edits can narrow;
* scales and shifts behind one another become one;
* dropout, identities and copies vanish.
"""

from __future__ import annotations

from torch import nn

from chipfit.core.graph import Network, live
from chipfit.nets.program import exported
from chipfit.nets.rewrite import merged_affines, select_convolutions
from chipfit.nets.rules.table import RULES
from chipfit.nets.rules.tracer import Tracer

__all__ = ["exported", "trace"]


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> Network:
    """The network that `module` computes in evaluation mode for inputs of `input_shape` (without batch axis).

    Raises:
        Untraceable: an operator without a rule, control flow on data, or an output that is not one tensor.
        BadInput: the module does not take an input of this shape.
    """
    tracer = Tracer(exported(module, input_shape), RULES)
    tracer.walk()
    whole = Network(live(tuple(tracer.ops), tracer.output), tracer.weights)
    network = select_convolutions(merged_affines(whole), tracer.prefixes)
    used = {name for o in network.graph for name in network.graph.weight_shapes(o)}
    return Network(network.graph, {n: w for n, w in network.weights.items() if n in used})
