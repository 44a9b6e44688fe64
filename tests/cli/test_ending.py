"""What user code leaves running does not keep a command from ending."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LEFT = {
    "a thread": "threading.Thread(target=time.sleep, args=(1000,)).start()",
    "an exit function": "atexit.register(time.sleep, 1000)",
    "a process": "multiprocessing.get_context('spawn').Process(target=time.sleep, args=(1000,)).start()",
}


@pytest.mark.parametrize("what", LEFT)
def test_the_command_ends_with_its_code_and_its_result(what: str) -> None:
    code = f"""
import atexit, multiprocessing, sys, threading, time
from chipfit.cli import ending, main
if __name__ == "__main__":
    ending.PATIENCE_S = 0.2
    {LEFT[what]}
    sys.argv = ["chipfit", "schema"]
    sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["title"] == "chipfit.yaml"
    assert "note: what user code left running" in done.stderr
