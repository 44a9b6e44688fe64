"""Runs command lines in one process, one after the other, and says on stdout how each ended.

    python front_worker.py ROOT

Reads `{"name", "words", "folder"}` a line, answers `{"name", "code", "lines", "internal"}`. Whoever asks ends this
process when it hangs, and starts another.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

MEMORY_BYTES = 12 << 30


def ended(words: list[str]) -> dict[str, object]:
    """How one command ended: its code, what it said on stderr, and whether an error escaped."""
    from chipfit.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    escaped = ""
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
    except SystemExit as e:
        code, escaped = -1, f"SystemExit({e.code})"
    except BaseException:
        code, escaped = -1, traceback.format_exc()
    lines = [line for line in err.getvalue().splitlines() if line.strip()]
    return {"code": code, "lines": lines, "escaped": escaped, "out": out.getvalue()[-2000:]}


def main() -> None:
    """Answers until there is nothing more to do."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # what native code prints must not get between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for line in sys.stdin:
        asked = json.loads(line)
        os.chdir(asked["folder"])
        for name in [n for n in sys.modules if n.startswith("_chipfit_user_")]:
            del sys.modules[name]
        answers.write(json.dumps({"name": asked["name"], **ended(asked["words"])}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
