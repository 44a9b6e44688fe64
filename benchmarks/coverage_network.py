"""Judges one network of a zoo, or edits it; the last line of stdout is the row.

python coverage_network.py names|judge|edit ZOO NAME [FOLDER of packages]...
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import time
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chipfit.api.words import port
from chipfit.compress.edit import apply
from chipfit.core.edits import Edit, Take, Width, innermost
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.opaque import program, taken_as_they_are
from chipfit.core.ports import Ends, width
from chipfit.device.engines.engine import feed, taken
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.export.formats import timing_bytes
from chipfit.export.onnx import write
from chipfit.nets.answers import Answers, undisturbed
from chipfit.nets.build import build
from chipfit.nets.faithful import traced
from chipfit.nets.reading import as_one
from chipfit.space.edits import apply as on_graph
from chipfit.space.edits import edited
from chipfit.space.groups import channel_groups
from chipfit.space.menu import Decision, Menu, Option
from chipfit.space.offer import offer

Floats = NDArray[np.float32]

Shape = tuple[int, ...] | tuple[str, ...]
"""Of one input, or the inputs of a network that takes several, as `--inputs` has them."""

CHOICE = "say which one it is for: --output"
"""What a refusal says that a user's word mends."""

NOTHING = 1e-3
"""Largest value of parameters that hide what is before them: heads and scales of layers that start at zero."""

GROUPS, PRUNED = 4, 1e-3
"""Groups of each network that are pruned; largest relative error against zeros in their place."""


def zoo_of(path: Path, folders: list[str]) -> dict[str, Any]:
    """The networks of a file."""
    sys.path.append(str(path.parent))
    sys.path.extend(folders)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    zoo: dict[str, Any] = module.Z
    return zoo


def shaken(module: nn.Module) -> nn.Module:
    """The module in evaluation, with statistics that matter and no parameter that starts as next to nothing."""
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for m in module.modules():
            mean, var = getattr(m, "running_mean", None), getattr(m, "running_var", None)
            if isinstance(mean, torch.Tensor) and isinstance(var, torch.Tensor):
                mean.copy_(torch.randn(mean.shape, generator=g) * 0.1)
                var.copy_(torch.rand(var.shape, generator=g) + 0.5)
        for p in module.parameters():
            if p.numel() and p.is_floating_point() and float(p.abs().max()) < NOTHING:
                spread = max(p.shape[-1], 1) ** -0.5 if p.ndim > 1 else 0.3
                p.copy_(torch.randn(p.shape, generator=g) * spread)
    return module.eval()


Traced = tuple[Network, Answers, tuple[str, ...]]


def network_of(name: str, module: nn.Module, shape: Shape) -> Traced:
    """The network of a module, its answers, and notes of how it was read.

    Of several values the first is taken where none is obvious, as a user would name one.

    Raises:
        ChipfitError: it is refused.
    """
    if shape and isinstance(shape[0], str):
        ports = tuple(port(str(text)) for text in shape)
        ends, flat = Ends(ports), (width(ports),)
    else:
        ends, flat = Ends(), tuple(int(n) for n in shape)
    with undisturbed(module):
        try:
            read = as_one(name, module, flat, ends, guess=True)
        except BadInput as e:
            if CHOICE not in str(e):
                raise
            read = as_one(name, module, flat, replace(ends, output="0"), guess=True)
    network, answers = traced(name, read.module, read.shape, integer=read.counts)
    return network, answers, read.notes


def judge(name: str, build_module: Any, shape: Shape) -> dict[str, Any]:
    """Whether a network is accepted and right."""
    began = time.monotonic()
    torch.manual_seed(0)
    module = shaken(build_module())
    try:
        network, answers, notes = network_of(name, module, shape)
    except ChipfitError as e:
        return {"accepted": False, "refused": str(e)}
    row: dict[str, Any] = {"accepted": True, "trace_s": time.monotonic() - began, "notes": notes}
    row["opaque"] = dict(Counter(what for _, what, _ in taken_as_they_are(network.graph)))
    row["why"] = sorted({f"{what}: {why}" for _, what, why in taken_as_they_are(network.graph)})[:40]
    row["operators"], row["macs"] = len(network.graph.ops), network.graph.total_macs
    want, x = answers.outputs, answers.inputs
    built = build(network)
    with torch.inference_mode():
        errors = {"graph 1": answers.take(1).error(built(torch.from_numpy(x[:1])).numpy())}
        errors["graph 2"] = answers.take(2).error(built(torch.from_numpy(x[:2])).numpy())
    for label, batch in (("file", 1), ("file of any batch", None)):
        try:
            errors[label] = answers.take(2).error(answered(write(network, batch=batch).data, x[:2], batch))
        except ValueError as e:
            errors[label] = float("inf")
            row["unwritten"] = str(e)[:300]
    row["errors"] = errors
    row["wrong"] = {k: v for k, v in errors.items() if not v <= answers.allowed}
    assert len(want) >= 2
    row |= pruned(network, torch.from_numpy(x[:2])) | choices(network.graph)
    row["judge_s"] = time.monotonic() - began
    return row


def answered(data: bytes, x: Floats, batch: int | None) -> Floats:
    """What an ONNX file answers, to one input after the other where it has a batch of one."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    given = taken(session.get_inputs())
    parts = [x] if batch is None else [row[None] for row in x]
    return np.concatenate([session.run(None, feed(given, part))[0] for part in parts])


def pruned(network: Network, x: torch.Tensor) -> dict[str, Any]:
    """Some width groups pruned, against the same channels set to zero."""
    groups = channel_groups(network.graph).groups
    if not groups:
        return {"groups": 0, "pruned_error": 0.0, "pruned_wrong": {}}
    picked = sorted({round(i * (len(groups) - 1) / (GROUPS - 1)) for i in range(GROUPS)})
    errors = {}
    for g in (groups[i] for i in picked):
        keep = tuple(c for c in range(g.size) if c % 3) or (0,)
        try:
            errors[g.name] = pruned_error(network, Width(g.name, keep), x)
        except (ChipfitError, RuntimeError, ValueError) as e:
            errors[g.name] = float("inf")
            print(f"{g.name}: {type(e).__name__}: {e}", file=sys.stderr)
    compared = {k: v for k, v in errors.items() if v is not None}
    wrong = {k: v for k, v in compared.items() if not v <= PRUNED}
    return {"groups": len(groups), "pruned_error": max(compared.values(), default=0.0), "pruned_wrong": wrong}


def pruned_error(network: Network, edit: Width, x: torch.Tensor) -> float | None:
    """Largest relative difference between a pruned network and one with zeros; None where a norm sees the channels."""
    made = edited(network.graph, [edit])
    taken = [s for s in map(innermost, made.arrays.values()) if isinstance(s, Take)]
    by_array = {name: o for o in network.graph for name in network.graph.weight_shapes(o)}
    if any(by_array[s.name].kind in ("layer_norm", "group_norm", "rms_norm") for s in taken):
        return None
    zeroed = dict(network.weights)
    for source in taken:
        if not source.name.endswith(("running_mean", "running_var")):
            zeroed[source.name] = _with_zeros(zeroed[source.name], source)
    with torch.inference_mode():
        want = build(Network(network.graph, zeroed))(x)
        got = build(apply(network, [edit]))(x)
    return float((want - got).abs().max() / want.abs().max().clamp_min(1e-30))


def _with_zeros(array: Floats, source: Take) -> Floats:
    """An array with zeros where it is not taken from."""
    made = array.copy()
    for axis, places in source.axes.items():
        gone = np.setdiff1d(np.arange(array.shape[axis]), np.asarray(places))
        index: list[Any] = [slice(None)] * array.ndim
        index[axis] = gone
        made[tuple(index)] = 0
    return made


def choices(graph: Graph) -> dict[str, Any]:
    """Share of the MACs in layers that some option changes, and whether there is attention."""
    menu = offer(graph, {32: 8}, bits=(32,)).menu
    touched: set[str] = set()
    for decision in menu.decisions:
        option = decision.options[-1]
        smaller = on_graph(graph, option.edits).by_name
        touched |= {o.name for o in graph if graph.macs(o) and _less(graph, o, smaller.get(o.name))}
        for option in decision.options[1:-1][-1:]:  # the narrowest, where the last drops the block
            smaller = on_graph(graph, option.edits).by_name
            touched |= {o.name for o in graph if graph.macs(o) and _less(graph, o, smaller.get(o.name))}
    total = graph.total_macs
    free = sum(graph.macs(graph[name]) for name in touched) / total if total else None
    return {"free": free, "attention": any(_attends(graph, o) for o in graph), "decisions": len(menu.decisions)}


def _less(graph: Graph, o: Op, smaller: Op | None) -> bool:
    return smaller is None or smaller.shape != o.shape or smaller.attrs != o.attrs or smaller.inputs != o.inputs


def _attends(graph: Graph, o: Op) -> bool:
    if o.kind == "opaque":
        names = " ".join(s.operator for s in program(o).steps)
        return "scaled_dot_product_attention" in names or ("softmax" in names and "matmul" in names)
    return o.kind == "matmul"


SHARE, ROUNDS, LEAST_S = 0.6, 5, 1.0
"""Share of the MACs that an edited network has; rounds of timing, each of so many seconds."""

FASTER = 1.3
"""Times as fast as it was that a file is to be."""


def edit(name: str, build_module: Any, shape: Shape) -> dict[str, Any]:
    """How much faster a network's file is once it has 60 % of the MACs, or why it cannot be."""
    torch.manual_seed(0)
    module = shaken(build_module())
    try:
        network, answers, _ = network_of(name, module, shape)
    except ChipfitError as e:
        return {"refused": str(e)}
    with OnnxRuntime(timing_bytes) as device:
        block = device.facts().channel_block[32]
    graph, made = network.graph, offer(network.graph, {32: block}, bits=(32,))
    edits, share = thinned(graph, made.menu)
    if share > SHARE + 0.03:
        reasons = Counter(why for layer, why in made.untouched if layer in graph.by_name)
        frozen = "; ".join(why for why, _ in reasons.most_common(3))
        return {"share": share, "reason": f"no fewer than {share:.0%} of the MACs: {frozen}"[:400]}
    least_of = [nearest(d, 0.0) for d in made.menu.decisions if d.kind == "width"]
    files = [write(n).data for n in (network, apply(network, edits), apply(network, edits_of(least_of)))]
    before, after, least = timed(files, answers.inputs[:1])
    found = {"share": share, "before_ms": before, "after_ms": after, "faster": before / after, "block": block}
    if before / min(after, least) < FASTER:
        left = share_of(graph, least_of)
        found["reason"] = f"its narrowest, with {left:.0%} of the MACs, is only {before / least:.2f} times as fast"
    return found


def thinned(graph: Graph, menu: Menu) -> tuple[list[Edit], float]:
    """Every width narrowed alike until no more than 60 % of the MACs is left, and the share that is.

    Of the last step as many widths take it, in their order, as it needs.
    """
    widths = [d for d in menu.decisions if d.kind == "width"]
    chosen = [d.options[0] for d in widths]
    for ratio in np.arange(0.95, 0.0, -0.05):
        narrower = [nearest(d, float(ratio)) for d in widths]
        if share_of(graph, narrower) <= SHARE:
            n = 1 + bisect_left(
                range(1, len(widths)), -SHARE, key=lambda n: -share_of(graph, narrower[:n] + chosen[n:])
            )
            chosen = narrower[:n] + chosen[n:]
            break
        chosen = narrower
    return edits_of(chosen), share_of(graph, chosen)


def edits_of(options: Sequence[Option]) -> list[Edit]:
    """The edits of all of them."""
    return [e for option in options for e in option.edits]


def share_of(graph: Graph, options: Sequence[Option]) -> float:
    """The share of the MACs that these leave."""
    return on_graph(graph, edits_of(options)).total_macs / max(graph.total_macs, 1)


def nearest(decision: Decision, ratio: float) -> Option:
    """The option whose width is nearest to a share of the full one."""
    widths = [o for o in decision.options if o.label.isdigit()]
    full = max(int(o.label) for o in widths)
    return min(widths, key=lambda o: abs(int(o.label) - ratio * full))


def timed(files: list[bytes], x: Floats) -> list[float]:
    """Milliseconds of each file on one thread, in turns: the median of the rounds' medians."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    sessions = [ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]) for data in files]
    fed = feed(taken(sessions[0].get_inputs()), x)
    rounds: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, found in zip(sessions, rounds, strict=True):
            times: list[float] = []
            began = time.perf_counter()
            while time.perf_counter() - began < LEAST_S or len(times) < 3:
                start = time.perf_counter()
                session.run(None, fed)
                times.append(time.perf_counter() - start)
            found.append(1e3 * float(np.median(times)))
    return [float(np.median(found)) for found in rounds]


def main() -> None:
    """One row."""
    task, zoo, name, *folders = sys.argv[1:]
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):
        known = zoo_of(Path(zoo), folders)
    if task == "names":
        print(json.dumps(list(known)))
        return
    builder, shape, _ = known[name]
    with contextlib.redirect_stdout(io.StringIO()):
        row = {"judge": judge, "edit": edit}[task](name, builder, tuple(shape))
    print(json.dumps(row))


if __name__ == "__main__":
    main()
