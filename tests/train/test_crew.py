"""Training processes that are lost: a job is begun once more, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import pytest

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.data.load import load_data
from chipfit.train import jobs as module
from chipfit.train.crew import Crew, Lost, Worker
from chipfit.train.jobs import Job, Task, run_jobs
from train.test_jobs import job


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


class Fragile(Worker):
    """A process that is killed, as by the system for want of memory, when it is handed the first job."""

    kills = 1

    def send(self, task: Task) -> None:
        super().send(task)
        if Fragile.kills:
            Fragile.kills -= 1
            self.process.send_signal(signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_job_whose_process_is_killed_is_begun_once_more(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fragile, "kills", 1)
    monkeypatch.setattr("chipfit.train.crew.Worker", Fragile)
    jobs = [job(name, digits, 10, 0.05) for name in ("one", "two")]
    done = run_jobs(jobs, digits, None, workers=1)
    assert [d.name for d in done] == ["one", "two"]
    assert all(d.steps == 10 and d.whole for d in done)


class Deaf:
    """Stands for a process that is lost whenever it is handed a task of this name."""

    doomed = "one"

    def receive(self) -> tuple[str, str]:
        return ("done", self.task) if hasattr(self, "task") else ("ready", "")

    def send(self, task: str) -> None:
        self.task = task
        if task == self.doomed:
            raise Lost("its process ended (signal 9)")

    def killed_after(self, seconds: float) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass


def test_one_that_is_lost_again_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipfit.train.crew.Worker", Deaf)
    for size in (1, 2, 3):
        crew = Crew([lambda _, name=name: name for name in ("one", "two", "three")], size, Deadline.never())
        answers = sorted(crew.answers())
        assert answers == [(0, "lost", "its process ended (signal 9)"), (1, "done", "two"), (2, "done", "three")]


def test_processes_that_never_come_up_end_the_jobs_not_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive(_: Deaf) -> tuple[str, str]:
        raise Lost("its process ended (exit code 1)")

    monkeypatch.setattr("chipfit.train.crew.Worker", Deaf)
    monkeypatch.setattr(Deaf, "receive", receive)
    answers = list(Crew([lambda _: "one", lambda _: "two"], 2, Deadline.never()).answers())
    assert sorted(n for n, *_ in answers) == [0, 1]
    assert {state for _, state, _ in answers} == {"lost"}


def test_a_loss_that_nobody_asks_for_is_one_line(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(_: Crew) -> list[tuple[int, str, str]]:
        return [(0, "lost", "its process ended (signal 9)")]

    monkeypatch.setattr(Crew, "answers", answers)
    with pytest.raises(ChipfitError, match=r"training one was lost 2 times: its process ended \(signal 9\)"):
        run_jobs([job("one", digits, 10, 0.05)], digits, None)


def test_each_of_more_jobs_than_processes_gets_a_part_of_the_time() -> None:
    now = [0.0]
    crew = Crew([partial(lambda s: s)] * 5, 2, Deadline.after(90.0, clock=lambda: now[0]))
    assert crew._take() == (0, 30.0)  # three rounds
    assert crew._take() == (1, 45.0)  # two rounds of what is left, were it handed over as late as its own round
    now[0] = 30.0
    assert crew._take() == (2, 30.0)
    now[0] = 60.0
    assert crew._take() == (3, 30.0)
    assert crew._take() == (4, 30.0)
    assert crew._take() is None


def test_a_process_has_its_seconds_whatever_the_wall_clock_says(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[float] = []

    def train_job(job: Job, dataset: Dataset, teacher: object, deadline: Deadline) -> None:
        seen.append(deadline.left())

    monkeypatch.setattr(module, "train_job", train_job)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # an hour, or fifty years, back
    module._write(tmp_path, digits, None)
    task = Task(job("one", digits, 10), str(tmp_path), module._described(digits), 1, 1000.0)
    module.work(task, time.monotonic())
    assert 900.0 < seen[0] <= 1000.0


def test_what_is_not_a_process_is_lost() -> None:
    worker = Worker()
    worker.process.kill()
    with pytest.raises(Lost, match="signal 9"):
        worker.receive()
    worker.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_none_outlives_a_parent_that_is_killed_while_they_start() -> None:
    program = textwrap.dedent("""
        import sys, time
        from chipfit.train.crew import Worker
        print(*(Worker().process.pid for _ in range(2)), flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    for _ in range(600):  # what stays would stay for ever
        if all(map(gone, children)):
            break
        time.sleep(0.1)
    assert all(map(gone, children))
