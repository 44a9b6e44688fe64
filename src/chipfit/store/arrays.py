"""Named sets of arrays (weights, statistics) in a folder, safetensors: nothing in them is ever executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.store.atomic import write_atomically

Arrays = Mapping[str, NDArray[Any]]


class ArrayFolder:
    """Sets of arrays by name, a file each; with `most_bytes` the files that were written first go beyond that."""

    def __init__(self, path: Path, most_bytes: float = float("inf")) -> None:
        self.path, self.most_bytes = path, most_bytes

    def put(self, name: str, arrays: Arrays) -> None:
        """Keeps a set of arrays in the place of what was under the name; a reader meets the old or the new set."""
        self.path.mkdir(parents=True, exist_ok=True)
        whole = {k: np.array(a, order="C") for k, a in arrays.items()}
        write_atomically(self._file(name), safetensors.numpy.save(whole))
        self._trim()

    def get(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The set of arrays under a name, or None.

        Raises:
            BadInput: the file is damaged.
        """
        place = self._file(name)
        if not place.is_file():
            return None
        try:
            return safetensors.numpy.load(place.read_bytes())
        except (safetensors.SafetensorError, ValueError) as e:
            raise BadInput(f"{place} is damaged ({e}); delete it and run again") from e

    def _file(self, name: str) -> Path:
        return self.path / f"{quote(name, safe='')}.safetensors"

    def _trim(self) -> None:
        size = 0
        for place in sorted(self.path.glob("*.safetensors"), key=lambda p: -p.stat().st_mtime):
            size += place.stat().st_size
            if size > self.most_bytes:
                place.unlink(missing_ok=True)
