"""kill -9 at any moment loses at most the row in flight."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from chipfit.store.store import Store

CHILD = """
import sys
import numpy as np
from kill_at import Steps
from chipfit.core.types import Candidate, Measurement, Trial
from chipfit.store.store import Store

Steps(int(sys.argv[3]))
store, start = Store(sys.argv[1]), int(sys.argv[2])
for n in range(start, start + 100_000):
    data = n.to_bytes(4, "big") * 2000
    digest = store.put_blob(data) if n % 3 == 0 else ""
    store.put_arrays("last", {"n": np.full(1000, n)})
    store.append(Trial(Candidate({"n": n, "blob": digest}), (Measurement("macs", n, "counted"),)))
    print(n, flush=True)
"""
FORKING = """
import os, sys
from chipfit.store.store import Store

store = Store(sys.argv[1])
if os.fork() == 0:
    print("forked", flush=True)
sys.stdin.read()
"""
ROUNDS, MOST_STEPS = 20, 60
TESTS = str(Path(__file__).parents[1])


def killed_at(step: int, run: Path, start: int) -> list[int]:
    """The rows whose `append` had returned before a child was killed at so manieth a step on the disk."""
    path = os.pathsep.join([TESTS, os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(run), str(start), str(step)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    return [int(line) for line in done.stdout.splitlines()]


def test_a_store_opens_after_every_kill_and_has_all_rows_that_were_appended(tmp_path: Path):
    steps, told = random.Random(0), 0
    for _ in range(ROUNDS):
        returned = killed_at(steps.randint(1, MOST_STEPS), tmp_path, told)
        with Store(tmp_path) as store:
            trials = store.trials()
            kept = [t.candidate.values["n"] for t in trials]
            assert kept == list(range(len(kept)))
            assert len(kept) - told - len(returned) in (0, 1), "more than the row in flight was lost, or made up"
            for t in trials[told:]:
                if digest := t.candidate.values["blob"]:
                    assert store.blob(str(digest)) == int(t.get("macs")).to_bytes(4, "big") * 2000
            last = store.arrays("last")
            if last is not None:
                assert len(set(last["n"].tolist())) == 1
                assert last["n"][0] in (len(kept) - 1, len(kept))
            assert last is not None or not kept
        told = len(kept)
    assert told > ROUNDS
    assert not list(tmp_path.glob("**/*.part"))


def test_a_forked_child_that_outlives_a_killed_run_does_not_keep_its_lock(tmp_path: Path):
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forked\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        Store(tmp_path).close()
