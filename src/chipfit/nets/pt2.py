"""Exported programs in files, as `torch.export.save` writes them: looked at before anything of them is loaded.

`torch.export.load` runs what a file says: pickled tensors, sample inputs and objects, compiled libraries, names of
functions that it looks up, and texts of expressions that it evaluates. So the archive is opened as a zip first, and a
file that has any of these is refused; what is left are plain tensors, operators of ATen and sizes.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput

MOST_BYTES = 4 * 2**30
"""Bytes of a file, and of a single text in it a sixteenth."""

OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|torch\.sym_(max|min|float|int|not|ite|sum)|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|math\.(ceil|floor|trunc)"
)
"""What nodes may call; ATen's operators compute and do nothing else."""

_SYMBOL = r"Symbol\('[suz]\d+'(?:, [a-z]+=(?:True|False))*\)"
EXPRESSION = re.compile(
    rf"(?:\s|[-+*/(),<>=&|~]|\d+(?:\.\d+)?|[suz]\d+|{_SYMBOL}|(?!Symbol)[A-Z][A-Za-z]{{1,40}}(?=\()|True|False|oo|inf)*"
)
"""Texts of sizes: numbers, symbols such as s0, and functions of sympy, which begin with a capital."""

FOREIGN = ("aotinductor/", "executorch/", "mtia/", "custom_obj_", "opaque_obj_")
"""What the names of files in an archive hold that are code, or objects that are unpickled."""


def load_program(path: Path) -> nn.Module:
    """The module of an exported program, with its weights.

    Raises:
        BadInput: no such file, none of `torch.export.save`, or one that holds more than tensors and ATen operators.
    """
    if not path.is_file():
        raise BadInput(f"model {str(path)!r} does not exist (looked in {Path.cwd()}); give the path of a .pt2 file")
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(
            f"model {str(path)!r} has {path.stat().st_size / 1e9:.1f} GB, at most {MOST_BYTES / 1e9:.1f} are read"
        )
    data = path.read_bytes()  # once: what is loaded is what was looked at
    where = f"model {str(path)!r}"
    check_archive(data, where)
    try:
        program = torch.export.load(io.BytesIO(data))
    except Exception as e:  # whatever torch says to a file of another version, or a damaged one
        said = (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
        raise BadInput(f"{where} cannot be loaded ({said}); save it again with this torch, {torch.__version__}") from e
    return module_of(program)


def module_of(program: torch.export.ExportedProgram) -> nn.Module:
    """A program as a module that takes one batch; it is one for evaluation, and stays it."""
    program._guards_code = []  # texts of conditions, which would be run before each call
    inner = program.module(check_guards=False)
    for module in inner.modules():
        module.train = MethodType(_stays, module)  # type: ignore[method-assign]
    return Program(inner)


def _stays(self: nn.Module, mode: bool = True) -> nn.Module:
    """In the place of `train` and `eval`, which an exported program refuses."""
    return self


class Program(nn.Module):
    """An exported program that is called with batches."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """What the program answers; its only output where it has one."""
        out = self.inner(*inputs, **named)
        return out[0] if isinstance(out, tuple | list) and len(out) == 1 else out


def check_archive(data: bytes, where: str) -> None:
    """Raises BadInput for an archive that would run something when it is loaded, or that cannot be looked into."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as e:
        raise BadInput(
            f"{where} is no file of torch.export.save; write it with torch.export.save(program, path)"
        ) from e
    names = [info.filename for info in archive.infolist()]
    if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) != 1:
        raise BadInput(f"{where} is no plain archive of torch.export.save: names in it are doubtful")
    inside = {name.partition("/")[2]: name for name in names}
    if bad := next((name for name in inside if any(part in name for part in FOREIGN)), None):
        raise BadInput(f"{where} holds {bad!r}, which is code or an object that runs when it is loaded; leave it out")
    programs = [name for name in inside if name.startswith("models/") and name.endswith(".json")]
    if len(programs) != 1:
        raise BadInput(
            f"{where} has {len(programs)} programs in the form of torch 2.8 or later, not one; save it again"
        )
    for name in inside:
        if re.fullmatch(r"data/(weights|constants)/[^/]*\.pt", name):
            raise BadInput(f"{where} keeps its weights in an old form that is unpickled; save it again with this torch")
    for name, whole in inside.items():
        if name.endswith(".json"):
            _check_text(json.loads(archive.read(whole)), where)
        elif name.startswith("data/sample_inputs/"):
            _check_sample(archive.read(whole), where)


def _check_text(content: Any, where: str) -> None:
    for key, value in _entries(content):
        if key == "use_pickle" and value:
            raise BadInput(f"{where} holds pickled tensors, which may run code; save dense tensors of plain types")
        if key == "target" and isinstance(value, str) and not OPERATOR.fullmatch(value):
            raise BadInput(f"{where} calls {value[:80]!r}, which is no operator of ATen; export it without it")
        if key == "expr_str" and not (isinstance(value, str) and EXPRESSION.fullmatch(value)):
            raise BadInput(f"{where} has the size {str(value)[:80]!r}, which is no plain expression")


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of nested mappings and lists, without recursion."""
    stack = [content]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            yield from top.items()
            stack += top.values()
        elif isinstance(top, list):
            stack += top


def _check_sample(content: bytes, where: str) -> None:
    """Sample inputs are unpickled by torch, first with `weights_only`: it has to be content with that."""
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as e:
        raise BadInput(f"{where} has sample inputs that are more than tensors; export it with plain tensors") from e
