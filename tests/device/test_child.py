from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chipfit.core.types import Artifact
from chipfit.device.child import Child, DeviceFailed
from chipfit.device.engines.engine import typical
from chipfit.device.engines.onnxruntime import node_times

Small = Callable[..., Artifact]


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child("onnxruntime", [0], 1)
    yield made
    made.close()


def _gone(pid: int, seconds: float = 20.0) -> bool:
    """True once no such process runs; a zombie that nobody has waited for has ended too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def _load(child: Child, artifact: Artifact, pinned: bool = False) -> list[str]:
    head = {"verb": "load", "digest": artifact.digest, "pinned": pinned}
    evicted: list[str] = child.ask(head, [artifact.data])[0]["evicted"]
    return evicted


def test_the_worker_loads_no_framework() -> None:
    code = (
        "import sys, chipfit.device.worker, chipfit.device.engines.onnxruntime\n"
        "print([m for m in ('torch', 'onnx', 'scipy') if m in sys.modules])\n"
    )
    root = str(Path(__file__).parents[2] / "src")
    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_closing_ends_the_process_and_the_next_use_starts_another(child: Child, small: Small) -> None:
    _load(child, small())
    first = child.pid
    assert first is not None
    child.close()
    child.close()
    assert child.pid is None
    assert _gone(first)
    _load(child, small())
    assert child.pid not in (None, first)


def test_a_killed_worker_is_told_and_replaced(child: Child, small: Small) -> None:
    pid = child.start()["pid"]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(DeviceFailed, match="signal 9") as caught:
        _load(child, small())
    assert caught.value.died
    assert _load(child, small()) == []
    assert child.pid != pid


def test_a_late_answer_ends_the_worker(child: Child, small: Small) -> None:
    pid = child.start()["pid"]
    one = small()
    _load(child, one)
    head = {"verb": "time", "target": one.digest, "canary": one.digest, "seconds": 5.0, "pairs": 3, "settle": False}
    with pytest.raises(DeviceFailed, match=r"no answer within 0\.2 s") as caught:
        child.ask(head, timeout_s=0.2)
    assert not caught.value.died
    assert _gone(pid)


def test_an_error_leaves_the_worker_alive(child: Child, small: Small) -> None:
    pid = child.start()["pid"]
    with pytest.raises(DeviceFailed, match="ONNXRuntimeError"):
        child.ask({"verb": "load", "digest": "bad", "pinned": False}, [b"rubbish"])
    _load(child, small())
    assert child.pid == pid


def test_a_worker_whose_parent_was_killed_ends_too() -> None:
    code = (
        "import os, signal\n"
        "from chipfit.device.child import Child\n"
        "print(Child('onnxruntime', [0], 1).start()['pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2] / "src")
    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert out.returncode == -signal.SIGKILL
    assert _gone(int(out.stdout))


def test_real_time_priority_is_taken_only_where_asked_for(child: Child, small: Small) -> None:
    assert not child.start()["real_time"]
    asked = Child("onnxruntime", [0], 1, real_time=True)
    try:
        about = asked.start()
        try:
            os.sched_setscheduler(about["pid"], os.SCHED_FIFO, os.sched_param(1))
            permitted = True
        except PermissionError:
            permitted = False
        assert about["real_time"] == permitted
        assert about["clock"] in ("wall time", "cycles") or not permitted
    finally:
        asked.close()


def test_an_interrupted_request_does_not_leave_half_an_answer(
    child: Child, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = child.start()["pid"]

    def interrupted(stream: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chipfit.device.child.receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _load(child, small())
    monkeypatch.undo()
    assert _gone(pid)
    assert _load(child, small()) == []


def test_the_least_recently_used_session_goes_and_canaries_stay(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipfit.device.child.KEEP", 2)
    child = Child("onnxruntime", [0], 1)
    canary, a, b, c = (small(channels) for channels in (4, 5, 6, 7))
    assert _load(child, canary, pinned=True) == []
    assert _load(child, a) == []
    assert _load(child, b) == []
    head = {"verb": "time", "target": a.digest, "canary": canary.digest, "seconds": 0.0, "pairs": 3, "settle": False}
    _, blobs = child.ask(head)  # a is now the more recently used
    assert [len(x) for x in blobs] == [3 * 8] * 3
    _, blobs = child.ask(head | {"settle": True})
    assert len(blobs[0]) == len(blobs[1]) == 3 * 8
    assert len(blobs[2]) > 3 * 8, "a settled network's single samples were not all told"
    assert _load(child, c) == [b.digest]
    child.close()


def test_node_times_are_means_of_the_middle_with_half_a_microsecond() -> None:
    def event(name: str, us: int) -> dict[str, object]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us, "args": {"op_name": "Conv"}}

    # two warm-up runs, then a hundred of which the lowest and the highest ten do not count
    runs = [900, 900, *([10, 11] * 40), *([2, 500] * 10)]
    events = [event("a", us) for us in runs] + [{"cat": "Session", "name": "model_run", "dur": 10_000}]
    assert node_times(events, 2) == [["a", "Conv", 10.5 + 0.5]]


def test_of_few_runs_the_fastest_half_counts() -> None:
    assert typical([10.0, 11.0, 500.0, 900.0]) == 10.5
    assert typical([7.0]) == 7.0
