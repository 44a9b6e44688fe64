"""Where chipfit itself computes: training, damage and repair take a GPU where there is one.

Timing has nothing to do with it: a network is timed on the device that was asked for. The choice holds for the whole
process, as torch's number of threads does, since every stage takes part in it: `choose` once, before anything computes.

Precision: training runs in bfloat16 where it is native (`fast_bf16`), else in float32. Damage, repair and scores run in
float32 with TensorFloat-32 off, whose ten bits of mantissa would move damages by more than options differ.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

import torch

from chipfit.core.errors import BadInput

LEAST_FREE_GB = 4.0
"""Free memory from which on `auto` takes a GPU: repair and damage hold up to 2 GB of values, training a batch's."""

_CPU = torch.device("cpu")
_chosen: list[torch.device] = []
"""The choice, once made."""
_locks: list[IO[str]] = []
"""Held until the process ends."""


def choose(name: str = "auto") -> torch.device:
    """Decides where this process computes.

    Args:
        name: `auto` takes a GPU with `LEAST_FREE_GB` of free memory where there is one; `cpu`; `cuda`.

    Raises:
        BadInput: `cuda` where torch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--accelerator cuda is not possible: {_why_not()}; give --accelerator cpu, or auto")
    device = torch.device("cuda") if name == "cuda" or (name == "auto" and _roomy()) else _CPU
    if device.type == "cuda":
        _without_tf32()
    _chosen[:] = [device]
    return device


def here() -> torch.device:
    """Where this process computes; `auto` where nobody chose."""
    return _chosen[0] if _chosen else choose()


def shared_with_others() -> bool:
    """True where another chipfit process computes on the same GPU; from the first call on this one is known to them."""
    if here().type != "cuda" or _locks:
        return False
    place = Path(tempfile.gettempdir()) / f"chipfit-gpu-{os.getuid()}-{torch.cuda.current_device()}.lock"
    lock = place.open("a")
    _locks.append(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def described() -> str:
    """The accelerator and its precision, for reports: "cpu" or the GPU's name."""
    if here().type != "cuda":
        return "cpu"
    precision = "bfloat16" if fast_bf16() else "float32"
    return f"{torch.cuda.get_device_name()} (training in {precision}; damage and repair in float32, TF32 off)"


@cache
def fast_bf16() -> bool:
    """True where bfloat16 arithmetic is native, so that autocast pays."""
    if here().type == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags


def _roomy() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        free, _ = torch.cuda.mem_get_info()
    except RuntimeError:  # a driver that does not answer, or a GPU that another process has to itself
        return False
    return free >= LEAST_FREE_GB * 1e9


def _why_not() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    return "torch finds no GPU (is its driver there, is CUDA_VISIBLE_DEVICES set?)"


def _without_tf32() -> None:
    """Float32 means float32. By the older of torch's two settings, which alone `torch.export` can read back."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
