"""What was once measured of a device, kept in one small JSON file for each fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/chipfit`, or `~/.cache/chipfit`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chipfit"


def file_of(folder: Path, fingerprint: str) -> Path:
    """The file of a device."""
    return folder / f"device-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}.json"


def recall(folder: Path, fingerprint: str, section: str) -> Any:
    """A section that `keep` wrote, or None: there is no file, it is of another device, or it is not readable JSON."""
    return _sections(folder, fingerprint).get(section)


def keep(folder: Path, fingerprint: str, section: str, value: Mapping[str, Any]) -> Any:
    """Writes a section beside the others and returns it; one that another process wrote meanwhile wins.

    Two processes that calibrate at once must end with one scale. The file is written under a temporary name and
    renamed, so that a reader never sees half of it.
    """
    there = recall(folder, fingerprint, section)
    if there is not None:
        return there
    target = file_of(folder, fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    data = {**_sections(folder, fingerprint), "fingerprint": fingerprint, section: dict(value)}
    handle, name = tempfile.mkstemp(dir=folder, prefix=target.stem, suffix=".tmp")
    with os.fdopen(handle, "w") as out:
        json.dump(data, out, indent=1)
    os.replace(name, target)
    return recall(folder, fingerprint, section)


def _sections(folder: Path, fingerprint: str) -> dict[str, Any]:
    """All that is known of a device; nothing where its file cannot be read."""
    try:
        data = json.loads(file_of(folder, fingerprint).read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and data.get("fingerprint") == fingerprint else {}
