"""Named sets of arrays (weights, statistics) in a folder, safetensors: nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chipfit.core.errors import ChipfitError, Damaged
from chipfit.store.atomic import write_atomically
from chipfit.store.damaged import MOVED_BY, note, set_aside

Arrays = Mapping[str, NDArray[Any]]


class ArrayFolder:
    """Sets of arrays by name, a file each; with `most_bytes` the files that were written first go beyond that.

    A file carries the digest of its values: a flipped bit in weights would else be a result like any other. A
    `forgiving` folder is a cache, which stops nobody: what is damaged is set aside, what cannot be written is not kept.
    """

    def __init__(self, path: Path, most_bytes: float = float("inf"), *, forgiving: bool = False) -> None:
        self.path, self.most_bytes, self.forgiving = path, most_bytes, forgiving

    def put(self, name: str, arrays: Arrays) -> None:
        """Keeps a set of arrays in the place of what was under the name; a reader meets the old or the new set."""
        whole = {k: np.array(a, order="C") for k, a in arrays.items()}
        data = safetensors.numpy.save(whole, metadata={_SEAL: _digest(safetensors.numpy.save(whole))})
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(name), data)
            self._trim()
        except (ChipfitError, OSError) as e:
            if not self.forgiving:
                raise
            note(f"profiles are not kept beyond this command: {e}; {MOVED_BY}")

    def get(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The set of arrays under a name, or None.

        Raises:
            Damaged: the file is damaged, and the folder not a cache.
        """
        place = self._file(name)
        if not place.is_file():
            return None
        try:
            data = place.read_bytes()
            arrays = safetensors.numpy.load(data)
            if (seal := _seal(data)) is not None and seal != _digest(data):
                raise ValueError("its values are not those that were written")
        except (safetensors.SafetensorError, ValueError, OSError) as e:
            if not self.forgiving:
                raise Damaged(f"{place} is damaged ({e}); delete it and run again") from e
            set_aside(place, str(e))
            return None
        return arrays

    def _file(self, name: str) -> Path:
        return self.path / f"{quote(name, safe='')}.safetensors"

    def _trim(self) -> None:
        size = 0
        for place in sorted(self.path.glob("*.safetensors"), key=lambda p: -p.stat().st_mtime):
            size += place.stat().st_size
            if size > self.most_bytes:
                place.unlink(missing_ok=True)


_SEAL = "sha256"
"""The key of the digest in a file's metadata. Files of older versions have none and are taken as they are."""


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its values begin: 8 bytes give the header's length."""
    begin = 8 + int.from_bytes(data[:8], "little")
    found: dict[str, Any] = json.loads(data[8:begin])
    return found, begin


def _seal(data: bytes) -> str | None:
    seal = _header(data)[0].get("__metadata__", {}).get(_SEAL)
    return None if seal is None else str(seal)


def _digest(data: bytes) -> str:
    """Of the names, types, shapes and values in a file, whatever its metadata."""
    header, begin = _header(data)
    told = json.dumps({name: header[name] for name in sorted(header) if name != "__metadata__"}, sort_keys=True)
    digest = hashlib.sha256(told.encode())
    digest.update(memoryview(data)[begin:])  # no copy: these may be hundreds of megabytes
    return digest.hexdigest()[:24]
