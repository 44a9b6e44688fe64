"""Devices by name: what the command line lists, and the one place where such a name becomes an object."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.protocols import Device
from chipfit.device.canary import Write


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One line of the list: its format, what it is, the modules it needs, and where its class is."""

    format: str
    about: str
    requires: tuple[str, ...]
    home: str

    @property
    def packages(self) -> tuple[str, ...]:
        """What pip calls the modules that it needs."""
        return tuple(PACKAGES.get(module, module) for module in self.requires)

    @property
    def missing(self) -> str:
        """What pip must install, empty where all is there."""
        return " ".join(p for m, p in zip(self.requires, self.packages, strict=True) if not find_spec(m))


PACKAGES: Mapping[str, str] = {
    "ai_edge_litert": "ai-edge-litert",
    "ethosu": "ethos-u-vela",
    "tflite_micro": "tflite-micro",
}
"""Modules that pip calls otherwise."""


DEVICES: Mapping[str, DeviceKind] = {
    "onnxruntime": DeviceKind(
        "onnx",
        "ONNX Runtime on one core of this machine's processor, measured",
        ("onnxruntime",),
        "chipfit.device.onnxruntime:OnnxRuntime",
    ),
    "openvino": DeviceKind(
        "onnx",
        "OpenVINO on one core of this machine's processor, measured",
        ("openvino",),
        "chipfit.device.openvino:OpenVino",
    ),
    "litert": DeviceKind(
        "tflite",
        "LiteRT with XNNPACK on one core of this machine's processor, measured",
        ("ai_edge_litert",),
        "chipfit.device.litert:LiteRt",
    ),
    "litert-builtin": DeviceKind(
        "tflite",
        "LiteRT's built-in kernels on one core of this machine's processor, measured",
        ("ai_edge_litert",),
        "chipfit.device.litert:LiteRtBuiltin",
    ),
    "tflite-micro": DeviceKind(
        "tflite",
        "TensorFlow Lite for Microcontrollers: its memory, and a class of latency on this machine, simulated",
        ("tflite_micro", "ai_edge_litert"),
        "chipfit.device.tflite_micro:TfliteMicro",
    ),
    "ethos-u55": DeviceKind(
        "tflite",
        "Arm's NPU with 128 MACs a cycle at 500 MHz, shared SRAM, int8 only, simulated by Vela",
        ("ethosu", "ai_edge_litert"),
        "chipfit.device.ethos_u:EthosU55",
    ),
    "ethos-u65": DeviceKind(
        "tflite",
        "Arm's NPU with 256 MACs a cycle at 1 GHz, 384 KB of SRAM, int8 only, simulated by Vela",
        ("ethosu", "ai_edge_litert"),
        "chipfit.device.ethos_u:EthosU65",
    ),
    "ethos-u85": DeviceKind(
        "tflite",
        "Arm's newest NPU with 256 MACs a cycle at 1 GHz, 384 KB of SRAM, int8 only, simulated by Vela",
        ("ethosu", "ai_edge_litert"),
        "chipfit.device.ethos_u:EthosU85",
    ),
    "torch": DeviceKind(
        "safetensors",
        "PyTorch, eager, in float32 on one core of this machine's processor, measured",
        ("torch",),
        "chipfit.device.torch:TorchEager",
    ),
    "ncnn": DeviceKind(
        "ncnn",
        "ncnn, in float32 on one core of this machine's processor, measured",
        ("ncnn",),
        "chipfit.device.ncnn:Ncnn",
    ),
    "null": DeviceKind(
        "onnx", "no device: latency counted from MACs and operators, for tests", ("onnx",), "chipfit.device.null:Null"
    ),
}

ALIASES: Mapping[str, str] = {"local": "onnxruntime"}
"""Other names; "local" is what a user without a chip in mind gets."""


FAMILIES: Mapping[str, DeviceKind] = {
    "accel:": DeviceKind(
        "onnx-fixed",
        "an accelerator on an FPGA part, designed for each network; also accel:PART@MHZ/dsp=N, simulated",
        ("onnxruntime",),
        "chipfit.device.accelerator.device:Accelerator",
    ),
}
"""Devices of which there are many: how their names begin to what they have in common."""


def kind_of(name: str) -> DeviceKind:
    """The line of the list that a name belongs to.

    Raises:
        BadInput: an unknown name; proposes the closest.
    """
    found = DEVICES.get(ALIASES.get(name, name)) or FAMILIES.get(prefix_of(name))
    if found is None:
        known = [*DEVICES, *ALIASES, *(f"{prefix}PART" for prefix in FAMILIES)]
        raise BadInput(f"device {name!r} is unknown{did_you_mean(name, known)}; known: {', '.join(known)}")
    return found


def prefix_of(name: str) -> str:
    """How the names of its family begin, "" where it is of none."""
    return next((prefix for prefix in FAMILIES if name.startswith(prefix)), "")


def open_device(name: str, write: Write) -> Device:
    """The device of that name; whoever opens it closes it. `write` makes files of its format for canaries and probes.

    Raises:
        BadInput: an unknown name (proposes the closest), or a package that is not installed (says the pip line).
    """
    kind = kind_of(name)
    if package := kind.missing:
        raise BadInput(f"device {name!r} needs {package}, which is not installed; run: pip install {package}")
    module, _, cls = kind.home.partition(":")
    made = getattr(importlib.import_module(module), cls)
    device: Device = made(name, write) if prefix_of(name) else made(write)
    return device
