"""Where chipfit keeps what outlives a run."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """`$XDG_DATA_HOME/chipfit`, or `~/.local/share/chipfit`: what the user made and would not want to lose."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "chipfit"


def predictor_file(name: str) -> Path:
    """Where the predictor of a name is kept; a name that ends in .npz is a file of the user's own."""
    return Path(name).expanduser() if name.endswith(".npz") else data_folder() / "predictors" / f"{name}.npz"


def predictors() -> list[str]:
    """The names of the predictors that are kept."""
    return sorted(place.stem for place in predictor_file("any").parent.glob("*.npz"))
