"""A torch module becomes a Graph and a flat dict of weights, through `torch.export`.

Tracing runs the module on fake tensors, so shapes come from the real forward pass. The program is functional
(`program`), each argument of each operator is bound by name (`rules.call`), arrays are those of the module's own
parameters (`rules.tracer`), values stay batch first wherever torch has the batch (`rules.layout`). Whatever has no
rule is taken as it is (`rules.region`): nothing is guessed, little is refused. Rewrites, all exact, make what follows
simpler:

* a strided spatial slice with zero channels padded around it (the option-A shortcut of He et al. 2015) becomes a 1x1
  convolution with a 0/1 weight, which kernels run faster and edits can narrow;
* scales and shifts behind one another become one;
* dropout, identities and copies vanish.
"""

from __future__ import annotations

from torch import nn
from torch.export import ExportedProgram

from chipfit.core.graph import Network, live
from chipfit.core.ports import text_of
from chipfit.nets.maps import on_maps
from chipfit.nets.presented import INNER, Presented
from chipfit.nets.program import exported
from chipfit.nets.rewrite import merged_affines, select_convolutions
from chipfit.nets.rules.region import take
from chipfit.nets.rules.table import ANYWHERE, RULES
from chipfit.nets.rules.tracer import Parted, Tracer
from chipfit.nets.written_out import norms

__all__ = ["exported", "trace"]


def trace(module: nn.Module, input_shape: tuple[int, ...], whole: bool = False) -> Network:
    """The network that `module` computes in evaluation mode for inputs of `input_shape` (without batch axis).

    `whole`: the module takes whole numbers, int64, as tokens are. A module that is `Presented` keeps the names that its
    parts have without it.

    Raises:
        Untraceable: control flow on data, random numbers, several inputs, or an output that is not one tensor.
        BadInput: the module does not take an input of this shape.
    """
    inside = f"{INNER}." if isinstance(module, Presented) else ""
    tracer = _walked(exported(module, input_shape, whole), inside)
    if isinstance(module, Presented) and module.ports:
        tracer.ops[0] = tracer.ops[0].having(ports=text_of(module.ports))
    walked = on_maps(Network(live(tuple(tracer.ops), tracer.output), tracer.weights), tracer.names)
    network = select_convolutions(norms(merged_affines(walked)), tracer.prefixes)
    used = {name for o in network.graph for name in network.graph.weight_shapes(o)}
    return Network(network.graph, {n: w for n, w in network.weights.items() if n in used})


def _walked(program: ExportedProgram, inside: str) -> Tracer:
    """The walk of a program, begun anew where a parameter turns out to be used in several ways."""
    parted = frozenset[str]()
    while True:
        tracer = Tracer(program, RULES, ANYWHERE, take, inside, parted)
        try:
            tracer.walk()
        except Parted as several:
            parted |= {several.root}
        else:
            return tracer
