"""`chipfit.yaml`: a configuration as a file that a person reads and writes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chipfit.api.config import Config
from chipfit.core.errors import BadInput
from chipfit.core.types import Plain
from chipfit.store.atomic import write_atomically

NAME = "chipfit.yaml"
"""The file that is read where a command names neither a model nor a file."""

_EXAMPLE: Mapping[str, str] = {
    "models": "[zoo:fashion-mnist]",
    "data": "fashion-mnist",
    "max": "[latency_ms=60%]",
    "time": "10m",
}
"""What stands in a new file uncommented."""


def read(path: Path) -> dict[str, Any]:
    """The options of a file, by name; dashes in names count as underscores.

    Raises:
        BadInput: no such file, no YAML (with the line), or no flat mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise BadInput(f"{str(path)!r} cannot be read ({e.strerror}); write one with 'chipfit init'") from e
    except UnicodeDecodeError as e:
        raise BadInput(f"{str(path)!r} is not text (byte {e.start}); write one with 'chipfit init'") from e
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        reason = getattr(e, "problem", None) or "it cannot be parsed"
        raise BadInput(f"{str(path)!r} is not YAML{where}: {reason}; see 'chipfit init' for an example") from e
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInput(f"{str(path)!r} holds a {type(found).__name__}, not options; write lines like 'time: 10m'")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def example() -> str:
    """A commented file with every option and its default."""
    lines = [
        "# What 'chipfit fit' is to do. Every line can be said on the command line instead, which comes first.",
        "",
    ]
    for name, field in Config.model_fields.items():
        lines += textwrap.wrap(str(field.description), 110, initial_indent="# ", subsequent_indent="# ")
        default = json.dumps(field.default)
        lines += [f"{name}: {_EXAMPLE[name]}" if name in _EXAMPLE else f"# {name}: {default}", ""]
    return "\n".join(lines)


def write_example(path: Path) -> Path:
    """Writes a new commented file.

    Raises:
        BadInput: there is one already.
    """
    if path.exists():
        raise BadInput(f"{str(path)!r} exists; delete it, or give another name")
    write_atomically(path, example().encode())
    return path


def write(config: Config, path: Path) -> None:
    """Writes the options of a run, so that `chipfit fit --config` can repeat it."""
    head = "# The options of this run; 'chipfit fit --config FILE --out DIRECTORY' runs them again.\n"
    plain = {k: v for k, v in config.plain().items() if v not in (None, [])}
    write_atomically(path, (head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).encode())


def schema() -> dict[str, Plain]:
    """The JSON schema of the file."""
    return Config.model_json_schema()
