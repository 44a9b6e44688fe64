"""The names of torchvision's own operators, declared where its compiled part does not load beside this torch.

The wheels of torchvision are built for one torch and one CUDA: beside a torch for the CPU the compiled part is missing,
and with it the operators of detection (boxes, regions), whose absence stops the import of everything else, and that of
libraries which import it. Declared without a body they let all networks be built that do not call them; calling one is
an error of torch that names it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

NAMES = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward", "ps_roi_align",
    "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip

MISSING = "operator torchvision::"
"""How torch begins to say that one of them is not there."""

_kept: list[torch.library.Library] = []
"""Declarations last as long as what made them."""


def importing(module: str, load: Callable[[str], Any]) -> Any:
    """What `load` imports; once more with the operators declared, where they are what is missing."""
    try:
        return load(module)
    except RuntimeError as e:
        if MISSING not in str(e) or _kept:
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] in ("torchvision", module.partition(".")[0])]:
        del sys.modules[name]  # half imported
    _declare()
    return load(module)


def ready() -> None:
    """Has torchvision imported, where it is installed, before a library does so late, in the middle of its own work."""
    with suppress(ImportError, RuntimeError, AttributeError):  # then the library says what it lacks
        importing("torchvision", import_module)


def _declare() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _kept.append(library)
    for name in NAMES:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor boxes) -> Tensor")  # type: ignore[no-untyped-call]
