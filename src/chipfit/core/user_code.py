"""A function of the user's own, named like `my_model.py:build`: found, called, its errors told in one line.

This is code that the user wrote and named. Files of weights or data are never executed.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from chipfit.core.errors import BadInput, did_you_mean


def names_code(spec: str) -> bool:
    """True for `FILE.py:NAME` and for a bare `FILE.py`.

    >>> names_code("my_model.py:build"), names_code("model.onnx")
    (True, False)
    """
    return spec.endswith(".py") or ".py:" in spec


def call(spec: str, example: str) -> object:
    """What the function named by `FILE.py:NAME` returns; `example` is the name proposed where none is given.

    The file's folder is importable meanwhile, as it is when the file is run by itself.

    Raises:
        BadInput: no such file or name, not callable, or its own error, with its line.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        raise BadInput(f"{spec!r} names no function; write it like {spec}:{example}")
    path = Path(file).expanduser()
    if not path.is_file():
        raise BadInput(f"{file!r} does not exist (looked in {Path.cwd()}); give the path of your Python file")
    with _importable(path.resolve().parent):
        module = _imported(path.resolve(), spec)
        function = getattr(module, name, None)
        if not callable(function):
            raise BadInput(_not_there(spec, name, module, function))
        try:
            return function()
        except (Exception, SystemExit) as e:
            raise BadInput(f"{spec} raised {_told(e, path)}") from e


def _imported(path: Path, spec: str) -> ModuleType:
    # Registered under a name of its own, so that dataclasses and pickles in it work and no real module is shadowed.
    name = f"_chipfit_user_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        raise BadInput(f"{spec}: importing {path.name} raised {_told(e, path)}") from e
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _not_there(spec: str, name: str, module: ModuleType, found: object) -> str:
    if found is not None:
        return f"{spec}: {name!r} is a {type(found).__name__}, not a function; name a function without arguments"
    # What the file itself defines, not what it imports.
    own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
    known = ", ".join(own[:8]) or "none"
    return f"{spec}: the file has no function {name!r}{did_you_mean(name, own)}; it has: {known}"


def _told(e: BaseException, path: Path) -> str:
    """The error in one line, with the last line of the user's file that was on the way."""
    message = " ".join(str(e).split())[:300]
    lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if Path(f.filename).name == path.name]
    if isinstance(e, SyntaxError):
        lines = [e.lineno]
    at = f" ({path.name}, line {lines[-1]})" if lines and lines[-1] else ""
    return f"{type(e).__name__}: {message}{at}" if message else f"{type(e).__name__}{at}"
