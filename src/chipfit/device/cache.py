"""What was once measured of a device, kept in one small JSON file for each fingerprint.

A cache is worth having and never worth stopping for: a file that cannot be read, or that holds what no device could
have been measured to have, is set aside and measured anew; where nothing can be written, it is measured each time.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from chipfit.core.errors import ChipfitError
from chipfit.store.atomic import sweep, write_atomically
from chipfit.store.damaged import MOVED_BY, note, set_aside

Read = TypeVar("Read")
_unwritten: dict[tuple[Path, str], dict[str, Any]] = {}
"""Sections by folder and fingerprint that could not be written: they hold until this process ends."""


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/chipfit`, or `~/.cache/chipfit`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chipfit"


def usable_folder() -> Path:
    """The default folder where it can be written; else a temporary one, which is noted once.

    Raises:
        OSError: the temporary directory cannot be written either.
    """
    return _usable(default_folder())


@cache
def _usable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as e:
        instead = Path(tempfile.mkdtemp(prefix=f"chipfit-{os.getpid()}-"))
        atexit.register(shutil.rmtree, instead, ignore_errors=True)
        note(f"the cache {folder} cannot be written ({e.strerror}): this command keeps nothing there; {MOVED_BY}")
        return instead
    sweep(folder, shared=True)
    return folder


def file_of(folder: Path, fingerprint: str) -> Path:
    """The file of a device."""
    return folder / f"device-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}.json"


def known(
    folder: Path,
    fingerprint: str,
    section: str,
    read: Callable[[Any], Read],
    make: Callable[[], Mapping[str, Any]],
) -> Read:
    """What `read` gives for a section: of what is kept, or else of what `make` measures, which is kept then.

    Args:
        folder: of the cache.
        fingerprint: of the device.
        section: of its file.
        read: from plain values; KeyError, TypeError or ValueError tell that they cannot be what was measured.
        make: plain values, measured now.
    """
    there = recall(folder, fingerprint, section)
    if there is not None:
        try:
            return read(there)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            set_aside(file_of(folder, fingerprint), f"{section}: {type(e).__name__} {e}")
    return read(keep(folder, fingerprint, section, make()))


def recall(folder: Path, fingerprint: str, section: str) -> Any:
    """A section that `keep` wrote, or None: there is no file, or it is of another device, or it was not readable."""
    return _sections(folder, fingerprint).get(section)


def keep(folder: Path, fingerprint: str, section: str, value: Mapping[str, Any]) -> Any:
    """Writes a section beside the others and returns it; one that another process wrote meanwhile wins.

    Two processes that calibrate at once must end with one scale. What cannot be written holds for this process.
    """
    there = recall(folder, fingerprint, section)
    if there is not None:
        return there
    data = {**_sections(folder, fingerprint), "fingerprint": fingerprint, section: dict(value)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file_of(folder, fingerprint), json.dumps(data, indent=1).encode())
    except (OSError, ChipfitError) as e:
        note(f"what was measured of this device is not kept: {e}; {MOVED_BY}")
        _unwritten.setdefault((folder, fingerprint), {})[section] = json.loads(json.dumps(dict(value)))
    return recall(folder, fingerprint, section)


def _sections(folder: Path, fingerprint: str) -> dict[str, Any]:
    """All that is known of a device; of a file that cannot be read, which is set aside, nothing."""
    place, found = file_of(folder, fingerprint), dict[str, Any]()
    try:
        data = json.loads(place.read_bytes())
        if not isinstance(data, dict):
            raise ValueError(f"it holds a {type(data).__name__}")
        found = data if data.get("fingerprint") == fingerprint else {}
    except (ValueError, RecursionError) as e:
        set_aside(place, str(e) or type(e).__name__)
    except OSError:  # there is none, or none that may be read
        found = {}
    return {**found, **_unwritten.get((folder, fingerprint), {})}


def positive(value: Any) -> float:
    """A number that can have been measured.

    Raises:
        ValueError: it is none, or not above zero.
    """
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is no time that was measured")
    return number
