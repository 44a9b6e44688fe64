"""What becomes of a network of the grammar: traced, edited, written in every format, and run; held against torch.

The oracle is torch in eval mode and runtimes opened here; the package's own checks are not asked.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from front_grammar import SHAPE, network
from numpy.typing import NDArray
from torch import nn

from chipfit.compress.edit import apply
from chipfit.compress.quantise import fake_quantised, ranges
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph, Network
from chipfit.evaluate.latency.variants import drawn
from chipfit.export.formats import writer
from chipfit.nets.build import build
from chipfit.nets.load import entry_of
from chipfit.space.choices import MenuSpace
from chipfit.space.offer import offer

Floats = NDArray[np.float32]

NEAR, FAR = 1e-4, 1e-3
"""Largest relative error of a float answer: the network's against the module's, and a file's."""

INT8 = 0.05
"""Mean error of an int8 file against fake quantisation, as a share of the largest answer."""

FORMATS = {"onnx": (32, 8), "tflite": (32, 8), "openvino": (32, 8), "ncnn": (32,), "safetensors": (32,)}


@dataclass
class Found:
    """What was seen of some networks: counts, and a line for each fault."""

    networks: int = 0
    files: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Takes in what was seen of others."""
        self.networks += other.networks
        self.files += other.files
        self.refused += other.refused
        self.unwritten += other.unwritten
        self.wrong += other.wrong
        self.crashed += other.crashed


def seen(seed: int, edits: int = 2) -> Found:
    """Everything about the network of a seed."""
    found = Found(networks=1)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    module, kinds = network(seed)
    who = f"network {seed} ({kinds})"
    x = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(seed + 1)) * 1.5
    try:
        entry = entry_of("net", "net", module, SHAPE)
    except ChipfitError as e:
        found.refused[reason(str(e))] += 1
        return found
    except Exception as e:
        found.crashed.append(f"{who}: trace: {type(e).__name__}: {str(e)[:200]}")
        return found
    truth = copy.deepcopy(module).eval()
    with torch.no_grad():
        want = truth(x.clone()).numpy()
    if (error := _error(want, _answer(entry.network, x))) > NEAR and _differs_in_double(truth, entry.network, x):
        found.wrong.append(f"{who}: network against module: {error:.2g}")
        return found
    _files(who, entry.network, x.numpy(), want, found)
    _edited(who, entry.network, x.numpy(), np.random.default_rng(seed), edits, found)
    return found


def _edited(who: str, net: Network, x: Floats, rng: np.random.Generator, n: int, found: Found) -> None:
    """Random assignments of the offer's own menu."""
    try:
        menu = offer(net.graph, {32: 8, 8: 8}, bits=(32, 8)).menu
        space = MenuSpace(menu)
    except Exception as e:
        found.crashed.append(f"{who}: offer: {type(e).__name__}: {str(e)[:200]}")
        return
    for k in range(n):
        assignment = space.repaired(drawn(menu, rng))
        if k == 0:  # widths and depth alone, so that formats without int8 have their share
            kinds = [d.kind for d in menu.decisions]
            assignment = tuple(0 if kind == "precision" else o for kind, o in zip(kinds, assignment, strict=True))
        label = f"{who} edit {k}"
        try:
            made = apply(net, menu.edits(assignment))
            want = _truth(made, x)
        except Exception as e:
            what = {name: o for name, o in menu.labels(assignment).items() if o != "fp32"}
            found.crashed.append(f"{label}: apply {what}: {type(e).__name__}: {str(e)[:200]}")
            continue
        _files(label, made, x, want, found)


def _truth(made: Network, x: Floats) -> Floats:
    if any(o.bits == 8 for o in made.graph):
        return fake_quantised(made, ranges(made, x), x)
    return _answer(made, torch.from_numpy(x))


def _files(who: str, net: Network, x: Floats, want: Floats, found: Found) -> None:
    """Every format that has the network's precisions, written and run."""
    low = any(o.bits == 8 for o in net.graph)
    known = ranges(net, x) if low else None
    for name, bits in FORMATS.items():
        if low and 8 not in bits:
            continue
        what = f"{who}: {name}{' int8' if low else ''}"
        try:
            artifact = writer(name)(net, ranges=known)
        except ChipfitError as e:
            found.unwritten[f"{name}: {reason(str(e))}"] += 1
            continue
        except Exception as e:
            found.crashed.append(f"{what}: write: {type(e).__name__}: {str(e)[:200]}")
            continue
        try:
            got = RUN[name](artifact.data, x)
        except Exception as e:
            found.crashed.append(f"{what}: run: {type(e).__name__}: {str(e)[:200]}")
            continue
        found.files += 1
        error = _mean_error(want, got) if low else _error(want, got)
        if not error <= (INT8 if low else FAR):
            found.wrong.append(f"{what}: {error:.2g}")


def reason(text: str) -> str:
    """A message without what differs from network to network."""
    text = re.sub(r"known: .*", "", text).removeprefix("net: ").removeprefix("net ")
    text = re.sub(r"by \S+ of the largest answer \(allowed \S+\)", "", text)
    return re.sub(
        r"\(in '[^']*'\)|\('[^']*'\)|'[^']*'|\d+(\.\d+)?(e-?\d+)?", lambda m: m[0] if "'" in m[0][:1] else "", text
    )[:140]


def _answer(net: Network, x: torch.Tensor) -> Floats:
    with torch.inference_mode():
        made: Floats = build(net)(x).numpy()
    return made


def _error(want: Floats, got: Floats) -> float:
    if want.shape != got.shape:
        return float("inf")
    return float(np.abs(want - got).max() / max(np.abs(want).max(), 1e-30))


def _mean_error(want: Floats, got: Floats) -> float:
    if want.shape != got.shape:
        return float("inf")
    return float(np.abs(want - got).mean() / max(np.abs(want).max(), 1e-30))


def _differs_in_double(module: nn.Module, net: Network, x: torch.Tensor) -> bool:
    try:
        with torch.no_grad():
            want = copy.deepcopy(module).double()(x.double()).numpy()
            return _error(want, build(net).double()(x.double()).numpy()) > NEAR / 10
    except RuntimeError:
        return True


def _onnx(data: bytes, x: Floats) -> Floats:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0] for row in x])


def _tflite(data: bytes, x: Floats) -> Floats:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    out = []
    for row in x:
        interpreter.set_tensor(given["index"], np.ascontiguousarray(row[None].transpose(0, 2, 3, 1)))
        interpreter.invoke()
        out.append(interpreter.get_tensor(made["index"]).copy())
    return np.concatenate(out)


def _openvino(data: bytes, x: Floats) -> Floats:
    import io
    import zipfile

    import openvino as ov

    core = ov.Core()
    with zipfile.ZipFile(io.BytesIO(data)) as together:
        model = core.read_model(together.read("model.xml"), together.read("model.bin"))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return np.concatenate([np.array(compiled(row[None])[0]) for row in x])


def _ncnn(data: bytes, x: Floats) -> Floats:
    from chipfit.device.engines.ncnn import NcnnSession

    return np.asarray(NcnnSession(data, 1).answer(x, 1), np.float32)


def _safetensors(data: bytes, x: Floats) -> Floats:
    import json

    from safetensors.numpy import load

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return _answer(Network(Graph.from_json(header["__metadata__"]["graph"]), load(data)), torch.from_numpy(x))


RUN: Mapping[str, Callable[[bytes, Floats], Floats]] = {
    "onnx": _onnx, "tflite": _tflite, "openvino": _openvino, "ncnn": _ncnn, "safetensors": _safetensors,
}  # fmt: skip
