"""`chipfit.yaml`: a configuration as a file that a person reads and writes."""

from __future__ import annotations

import json
import stat
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chipfit.api.config import Config
from chipfit.core.errors import BadInput
from chipfit.core.types import Plain
from chipfit.core.words import shown
from chipfit.store.atomic import write_atomically

NAME = "chipfit.yaml"
"""The file that is read where a command names neither a model nor a file."""

MOST_BYTES = 2**16
"""Bytes of a file of options: one with every option, explained, has 8,000. Parsing takes a second for each 50,000."""

MOST_LEVELS = 8
"""Levels of lists and mappings in each other: options have two."""

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
        BadInput: no such file, no YAML (with the line), no flat mapping, or one larger or deeper than options are.
    """
    text = _text(path)
    try:
        _check_size_of(text, path)
        options = _options(text, path)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        reason = getattr(e, "problem", None) or getattr(e, "reason", None) or "it cannot be parsed"
        raise BadInput(f"{str(path)!r} is not YAML{where}: {reason}; see 'chipfit init' for an example") from e
    except (ValueError, LookupError, ArithmeticError) as e:
        # PyYAML makes dates and numbers with Python's own constructors and lets their errors through
        reason = " ".join(str(e).split())[:80]
        raise BadInput(f"{str(path)!r} holds a value that YAML cannot read ({reason}); put it in quotes") from e
    return options


def _text(path: Path) -> str:
    """What a plain file of bounded size holds."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{str(path)!r} is no plain file; write one with 'chipfit init'")
        if status.st_size > MOST_BYTES:
            raise BadInput(f"{str(path)!r} has {status.st_size} bytes, options take at most {MOST_BYTES}; shorten it")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
    except OSError as e:
        raise BadInput(f"{str(path)!r} cannot be read ({e.strerror}); write one with 'chipfit init'") from e
    except ValueError as e:  # a null character in the name
        raise BadInput(f"{str(path)!r} cannot be read ({e}); write one with 'chipfit init'") from e
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{str(path)!r} is not text (byte {e.start}); write one with 'chipfit init'") from e


def _check_size_of(text: str, path: Path) -> None:
    """Refuses aliases, tags and deep nesting, by events: these are read one after the other, without recursion.

    An alias stands for a whole value, so that a few of them, each in the next, unfold to gigabytes.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise BadInput(f"{str(path)!r}, line {line}: the alias *{event.anchor} is not allowed; write the value out")
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise BadInput(f"{str(path)!r}, line {line}: the tag {tag!r} is not allowed; write the plain value")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_LEVELS:
            raise BadInput(f"{str(path)!r}, line {line}: more than {MOST_LEVELS} levels; options are a flat list")


def _options(text: str, path: Path) -> dict[str, Any]:
    """The mapping at the top, each name once."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}
        found = loader.construct_document(root)
    finally:
        loader.dispose()
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInput(f"{str(path)!r} holds a {type(found).__name__}, not options; write lines like 'time: 10m'")
    lines: dict[str, int] = {}
    for key, _ in root.value:
        name, line = str(key.value).replace("-", "_"), key.start_mark.line + 1
        if name in lines:
            raise BadInput(f"{str(path)!r}: {name!r} stands on line {lines[name]} and on line {line}; keep one")
        lines[name] = line
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
        raise BadInput(f"{shown(str(path))} exists; delete it, or give another name")
    if not path.parent.is_dir():
        raise BadInput(
            f"{shown(str(path))} cannot be written: its folder does not exist; make it, or give another name"
        )
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
