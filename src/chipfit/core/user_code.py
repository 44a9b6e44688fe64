"""A function of the user's own, named like `my_model.py:build`: found, imported, called under supervision.

This is code that the user wrote and named. Files of weights or data are never executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.supervised import supervised


def names_code(spec: str) -> bool:
    """True for `FILE.py:NAME` and for a bare `FILE.py`.

    >>> names_code("my_model.py:build"), names_code("model.onnx")
    (True, False)
    """
    return spec.endswith(".py") or ".py:" in spec


def folder_of(spec: str) -> Path | None:
    """The folder of the file that `FILE.py:NAME` names; None where it names none."""
    return Path(spec.rpartition(":")[0]).expanduser().resolve().parent if names_code(spec) else None


def call(spec: str, example: str) -> object:
    """What the function named by `FILE.py:NAME` returns; `example` is the name proposed where none is given.

    The file's folder is importable meanwhile, as it is when the file is run by itself, and so are its neighbours by
    relative imports.

    Raises:
        BadInput: no such file or name, not callable, or whatever it did instead of returning, with its line.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        raise BadInput(f"{spec!r} names no function; write it like {spec}:{example}")
    path = Path(file).expanduser()
    if not path.is_file():
        what = "is no file" if path.exists() else f"does not exist (looked in {Path.cwd()})"
        raise BadInput(f"{file!r} {what}; give the path of your Python file")
    path = path.resolve()
    with importable(path.parent):
        module = _imported(path, spec)
        function = getattr(module, name, None)
        if not callable(function):
            raise BadInput(_not_there(spec, name, module, function))
        with supervised(spec, path.parent):
            sys.argv = [str(path)]
            return function()


def _imported(path: Path, spec: str) -> ModuleType:
    # Registered under a name of its own, so that dataclasses and pickles in it work and no real module is shadowed.
    package = _package_of(path.parent)
    name = f"{package}.{re.sub(r'[^0-9a-zA-Z_]', '_', path.stem)}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        with supervised(f"{spec}: importing {path.name}", path.parent):
            sys.argv = [str(path)]
            found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package_of(folder: Path) -> str:
    """The name of a package that stands for the folder, so that `from .neighbour import x` finds what is beside.

    Where the folder is part of a real package, so are the folders above, for `from ..other import x`; their
    `__init__.py` are not run.
    """
    root, below = folder, list[Path]()
    while (root / "__init__.py").is_file() and root.parent != root:
        below.insert(0, root)
        root = root.parent
    name = f"_chipfit_user_{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    _register(name, root)
    for part in below:
        name = f"{name}.{part.name}"
        _register(name, part)
    return name


def _register(name: str, folder: Path) -> None:
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


_own_modules: dict[Path, dict[str, ModuleType]] = {}
"""What was imported from each folder of the user's."""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules in the folder can be imported; those of another folder under the same names are out of sight.

    Two models in two folders may each have a `layers.py` beside them.
    """
    before = set(sys.modules)
    hidden = {n: m for n, m in list(sys.modules.items()) if _from_another(n, m, folder)}
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(_own_modules.get(folder, {}))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        new = {n: m for n, m in list(sys.modules.items()) if n not in before and _is_in(n, m, folder)}
        _own_modules.setdefault(folder, {}).update(new)
        sys.modules.update(hidden)


def _is_in(name: str, module: object, folder: Path) -> bool:
    """True for a module that was imported from the folder, but not for those under names of our own."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name.startswith("_chipfit_user_"):
        return False
    return "site-packages" not in file and Path(file).is_relative_to(folder)


def _from_another(name: str, module: object, folder: Path) -> bool:
    return any(other != folder and name in known and module is known[name] for other, known in _own_modules.items())


def _not_there(spec: str, name: str, module: ModuleType, found: object) -> str:
    if found is not None:
        return f"{spec}: {name!r} is a {type(found).__name__}, not a function; name a function without arguments"
    # What the file itself defines, not what it imports.
    own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
    own.sort(key=lambda n: isinstance(vars(module)[n], type))  # classes last: it is a function that is wanted
    known = ", ".join(own[:8] + ["..."] * (len(own) > 8)) or "none"
    return f"{spec}: the file has no function {name!r}{did_you_mean(name, own)}; it has: {known}"
