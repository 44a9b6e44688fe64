"""Runs the cases of `front_bad` through the real command line, in a process that is replaced when it hangs or dies."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from front_case import MODEL, Case

HANG_S = 60.0
"""A command that says nothing for so long hangs; those here take a few seconds at most."""

SIGNS = ("Traceback", "internal:")
"""What no line may hold."""


@dataclass(frozen=True)
class Ending:
    """How a case ended: `fault` is "" where it ended right."""

    case: Case
    fault: str
    code: int
    line: str


class Commands:
    """A process that runs command lines, started when it is needed, with a cache of its own."""

    def __init__(self, hang_s: float = HANG_S) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="front-door-")
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._hang_s = hang_s
        self._n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._folder.cleanup()

    def ended(self, case: Case) -> Ending:
        """Runs a case in a folder of its own."""
        self._n += 1
        folder = Path(self._folder.name, f"{self._n}")
        folder.mkdir()
        (folder / "net.py").write_text(MODEL)
        case.fill(folder)
        reply = self._asked({"name": case.name, "words": list(case.words), "folder": str(folder)})
        if reply is None:
            return Ending(case, "hangs, or dies", -1, "")
        lines, code = reply["lines"], int(reply["code"])
        line = lines[-1] if lines else ""
        return Ending(case, _fault(case, folder, reply), code, line[:300])

    def _asked(self, question: dict[str, Any]) -> dict[str, Any] | None:
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            reply: dict[str, Any] = json.loads(self._lines.get(timeout=self._hang_s))
        except (queue.Empty, OSError, ValueError):
            self._end()
            return None
        return reply

    def _start(self) -> None:
        here = Path(__file__).parent
        env = {**os.environ, "XDG_CACHE_HOME": f"{self._folder.name}/cache", "OMP_NUM_THREADS": "1"}
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, str(here / "front_worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=env,
        )  # fmt: skip
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")  # the process is gone: whoever waits need not


def _fault(case: Case, folder: Path, reply: dict[str, Any]) -> str:
    """What is wrong with an ending: the kind of fault, or nothing."""
    said, code = "\n".join(reply["lines"]), int(reply["code"])
    if reply["escaped"]:
        return f"escapes: {reply['escaped'].strip().splitlines()[-1][:200]}"
    if any(sign in said for sign in SIGNS):
        return "traceback"
    if (folder / "evil").exists():
        return "ran code from data"
    if code not in case.codes:
        return f"exit {code}, right is {' or '.join(map(str, case.codes))}"
    if code == 2 and case.one_line and len(reply["lines"]) != 1:
        return f"{len(reply['lines'])} lines"
    return ""


def all_ended(cases: Sequence[Case], show: bool = False) -> list[Ending]:
    """How each case ended."""
    endings = []
    with Commands() as commands:
        for case in cases:
            endings.append(commands.ended(case))
            if show and endings[-1].fault:
                e = endings[-1]
                print(f"  {e.case.name}: {e.fault}: {e.line}", flush=True)
    return endings
