"""Where words go: results to stdout, as tables or one JSON document; all else to stderr, a line at a time."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chipfit.cli.options import Common
from chipfit.cli.stdout import results
from chipfit.core.types import Plain
from chipfit.report.numbers import strict

WIDTH = 120
"""Columns where the output is no terminal."""


def console(error: bool = False) -> Console:
    """Stdout or stderr, wide enough for tables where it is a file."""
    stream = sys.stderr if error else results()
    return Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False, soft_wrap=False)


def document(value: Plain) -> None:
    """One JSON document on stdout; NaN becomes null. What the stream cannot encode is escaped as JSON does it."""
    text = json.dumps(strict(value), allow_nan=False, indent=2, ensure_ascii=False)
    try:
        text.encode(results().encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(strict(value), allow_nan=False, indent=2)
    results().write(text + "\n")


def say(line: str) -> None:
    """One line on stderr, whatever it holds: what would move a terminal's cursor is written as an escape."""
    one = " ".join(line.splitlines())
    sys.stderr.write("".join(c if c.isprintable() else repr(c)[1:-1] for c in one) + "\n")


def emit(common: Common, value: Plain, shown: Sequence[RenderableType]) -> None:
    """The result: as JSON where that was asked for, else as tables and lines."""
    if common.json:
        document(value)
        return
    out = console()
    for part in shown:
        words = Text(part) if isinstance(part, str) else part  # a path may hold brackets, which are no markup
        out.print(words, soft_wrap=isinstance(words, Text))


@contextmanager
def following(common: Common, seconds: float | None = None) -> Iterator[Callable[[str, str], None]]:
    """What a recipe tells of its progress: a bar of the time on a terminal, else plain lines with the seconds."""
    began = time.monotonic()
    if common.quiet:
        yield lambda phase, detail: None
        return
    if not sys.stderr.isatty() or common.verbose:
        yield lambda phase, detail: say(f"[{time.monotonic() - began:5.0f} s] {phase}: {detail}")
        return
    now = ["begin", "reading what was named"]

    def shown() -> Table:
        gone = time.monotonic() - began
        grid = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [Text(f"{now[0]:>9}", style="bold")]
        if seconds is not None and math.isfinite(seconds):
            cells.append(ProgressBar(total=seconds, completed=min(gone, seconds), width=24))
            cells.append(Text(f"{clock(gone)} of {clock(seconds)}"))
        else:
            cells.append(Text(clock(gone)))
        grid.add_row(*cells, Text(now[1], overflow="ellipsis", no_wrap=True, style="dim"))
        return grid

    def tell(phase: str, detail: str) -> None:
        now[:] = [phase, detail]

    with Live(get_renderable=shown, console=console(error=True), refresh_per_second=4, transient=True):
        yield tell


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(75.2)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
