"""What the cache can do without: files that cannot be read are set aside, and a note says so."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

from chipfit.core.errors import Note

MOVED_BY = "XDG_CACHE_HOME names another place for the cache"


def set_aside(
    path: Path, why: str, companions: tuple[str, ...] = (), then: str = "what it held is measured again"
) -> None:
    """Renames a damaged file of the cache to NAME.damaged, in the place of an older one, and notes it.

    Args:
        path: of the file.
        why: what is wrong with it, as a clause.
        companions: endings of files that belong to it and go.
        then: what becomes of what it held, as a clause.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError:
        note(f"{path} is damaged ({why}) and is left out; delete it, or: {MOVED_BY}")
        return
    for ending in companions:
        with suppress(OSError):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    note(f"{path} is damaged ({why}); it was set aside as {aside.name}, and {then}")


def note(text: str) -> None:
    """Tells the user something that stops nothing."""
    warnings.warn(Note(" ".join(text.split())), stacklevel=3)
