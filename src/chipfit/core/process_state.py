"""What user code may change of the process that runs it, put back after each call: the rest of the run uses it too.

Its working directory and arguments; stdout and stderr, by their descriptors; Python's depth of recursion; filters of
warnings; numpy's treatment of overflow; and of torch, if that is loaded, the default type and device, gradients,
determinism, precision of products and the number of threads.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

Restore = Callable[[], None]


@contextmanager
def as_it_was() -> Iterator[None]:
    """Puts all of it back at the end, whichever way that comes."""
    restores = [_descriptors(), _directory(), _arguments(), _recursion(), _torch()]
    try:
        with warnings.catch_warnings(), np.errstate():
            yield
    finally:
        for restore in restores:
            restore()


def _descriptors() -> Restore:
    """Of 1 and 2, which code closes or turns elsewhere to be quiet; what is said later must still be heard."""
    kept = []
    for number in (1, 2):
        with suppress(OSError):  # closed from the beginning
            kept.append((number, os.dup(number), _file_of(number)))

    def restore() -> None:
        for number, copy, file in kept:
            if _file_of(copy) != file:
                continue  # closed too, and perhaps opened as something else
            if _file_of(number) != file:
                os.dup2(copy, number)
            os.close(copy)

    return restore


def _file_of(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _directory() -> Restore:
    before = _working_directory()

    def restore() -> None:
        if before is not None and _working_directory() != before:
            with suppress(OSError):
                os.chdir(before)

    return restore


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # deleted meanwhile
        return None


def _arguments() -> Restore:
    before = sys.argv

    def restore() -> None:
        sys.argv = before

    return restore


def _recursion() -> Restore:
    before = sys.getrecursionlimit()
    return lambda: sys.setrecursionlimit(before)


def _torch() -> Restore:
    """Of torch only what is loaded; the default device by None, for one that is set costs something in every call."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):
        return lambda: None
    dtype, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    strict, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    threads = torch.get_num_threads()

    def restore() -> None:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.are_deterministic_algorithms_enabled() != strict:
            torch.use_deterministic_algorithms(strict)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    return restore
