"""User code that prints, raises, exits, hangs or floods: one line that names the place, and stdout untouched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chipfit.core import supervised as module
from chipfit.core.errors import BadInput
from chipfit.core.supervised import VARIABLE, seconds_allowed, supervised, supervised_items
from chipfit.core.user_code import call


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return f"{folder / name}:build"


def said_of(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        call(write(folder, text), "build")
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def body(*lines: str) -> str:
    return "def build():\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (body("import sys; sys.exit(7)"), "mine.py:build raised SystemExit: 7 (mine.py, line 2)"),
        (body("exit()"), "mine.py:build raised SystemExit: None (mine.py, line 2)"),
        (body("import os", "os._exit(0)"), "mine.py:build raised os._exit: 0 (mine.py, line 3)"),
        (body("return build()"), "raised RecursionError: maximum recursion depth exceeded"),
        (body("raise MemoryError"), "mine.py:build raised MemoryError (mine.py, line 2)"),
        (body("raise BaseException('odd')"), "raised BaseException: odd (mine.py, line 2)"),
        (body("raise GeneratorExit"), "raised GeneratorExit (mine.py, line 2)"),
        (
            body("class E(Exception):", "    def __str__(self): raise ValueError", "raise E"),
            "raised E (mine.py, line 4)",
        ),
        (body("raise ValueError('x' * 5000)"), f"raised ValueError: {'x' * 300} (mine.py, line 2)"),
        (body("return int('two')"), "invalid literal for int() with base 10: 'two' (mine.py, line 2)"),
        ("import torchvision_of_nobody\n", "No module named 'torchvision_of_nobody' (mine.py, line 1)"),
        ("raise SystemExit(2)\n", "importing mine.py raised SystemExit: 2 (mine.py, line 1)"),
        ("x = (\n", "importing mine.py raised SyntaxError: '(' was never closed (mine.py, line 1)"),
        ("def build():\n\tx = 1\n        y = 2\n", "importing mine.py raised TabError"),
    ],
)
def test_whatever_it_does_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in said_of(tmp_path, text)


def test_the_line_is_of_the_users_own_file_wherever_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "def make(n):\n    return [1][n]\n", "parts_of_mine.py")
    said = said_of(tmp_path, "from parts_of_mine import make\n" + body("return make(3)"))
    assert said == "mine.py:build raised IndexError: list index out of range (parts_of_mine.py, line 2)"
    said = said_of(tmp_path, "import json\n" + body("return json.loads('{')"))
    assert "(mine.py, line 3)" in said


def test_a_known_package_that_is_missing_comes_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "sklearn.svm", raising=False)
    assert said_of(tmp_path, "from sklearn.svm import SVC\n").endswith("install it: pip install scikit-learn")
    assert "pip" not in said_of(tmp_path, "import nobody_knows_this\n")


def test_ctrl_c_passes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        call(write(tmp_path, body("raise KeyboardInterrupt")), "build")


def test_what_is_printed_goes_to_stderr_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(write(tmp_path, "print('at import')\n" + body("print('in build')", "import sys; sys.stdout.flush()")), "build")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "at import\nin build\n"
    monkeypatch.setattr(module, "MOST_PRINTED", 1_000_000)
    said_then = said_of(tmp_path, body("while True:", "    print('x' * 1000)"))
    assert "printed more than 1 million characters and was stopped (mine.py, line 3); print less" in said_then
    assert len(capsys.readouterr().err) <= 1_100_000
    print("works again")
    assert capsys.readouterr().out == "works again\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.2")
    monkeypatch.setattr(module, "AGAIN_S", 0.2)


HANGS = {
    "a loop": "while True: pass",
    "a sleep": "__import__('time').sleep(1000)",
    "a lock": "lock = __import__('threading').Lock(); lock.acquire(); lock.acquire()",
    "a process": "__import__('subprocess').run(['sleep', '1000'])",
    "a pipe": "r, w = __import__('os').pipe(); __import__('os').read(r, 1)",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", HANGS)
def test_what_hangs_is_stopped_and_the_way_to_more_time_is_told(tmp_path: Path, how: str) -> None:
    said = said_of(tmp_path, body(HANGS[how]))
    assert "mine.py:build took more than 0.2 s and was stopped (mine.py, line 2)" in said
    assert said.endswith(f"allow more seconds: {VARIABLE}=2")


@pytest.mark.usefixtures("quick")
def test_what_hangs_at_import_and_what_catches_the_interrupt_once(tmp_path: Path) -> None:
    assert "importing mine.py took more than 0.2 s" in said_of(tmp_path, "while True: pass\n")
    text = body("import time", "for _ in range(2):", "    try: time.sleep(1000)", "    except BaseException: pass",
                "time.sleep(1000)")  # fmt: skip
    assert "took more than 0.2 s and was stopped (mine.py, line 6)" in said_of(tmp_path, text)


def test_what_catches_every_interrupt_ends_the_process_with_a_line(tmp_path: Path) -> None:
    text = body("import time", "while True:", "    try: time.sleep(1000)", "    except BaseException: pass")
    program = (
        "import sys; from chipfit.core import supervised as s; s.AGAIN_S = 0.1\n"
        "from chipfit.core.user_code import call; call(sys.argv[1], 'build')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, write(tmp_path, text)],
        env={**os.environ, VARIABLE: "0.2"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.endswith("took more than 0.2 s and was stopped: it catches every interrupt\n")


@pytest.mark.usefixtures("quick")
def test_in_another_thread_python_is_stopped_too(tmp_path: Path) -> None:
    found: list[str] = []

    def hang() -> None:
        try:
            call(write(tmp_path, body("while True: pass")), "build")
        except BadInput as e:
            found.append(str(e))

    thread = threading.Thread(target=hang)
    thread.start()
    thread.join(30)
    assert found
    assert "took more than 0.2 s and was stopped (mine.py, line 2)" in found[0]


def test_the_limit_is_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds_allowed() == 60
    monkeypatch.setenv(VARIABLE, "600")
    assert seconds_allowed() == 600
    for bad in ("soon", "0", "-3", "nan", "inf"):
        monkeypatch.setenv(VARIABLE, bad)
        with pytest.raises(BadInput, match=f"{VARIABLE}='{bad}' is no number of seconds above zero"):
            seconds_allowed()


@pytest.mark.usefixtures("quick")
def test_an_inner_limit_leaves_the_outer_one_running() -> None:
    def nested() -> None:
        with supervised("outer", times=2):
            with supervised("inner"):
                pass
            time.sleep(1000)

    with pytest.raises(BadInput, match="outer took more than 0.4 s"):
        nested()


def test_errors_of_ours_pass_where_no_file_of_the_users_was_on_the_way(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), supervised("theirs", tmp_path, all_theirs=False):
        1 / 0  # noqa: B018
    with pytest.raises(BadInput, match="theirs raised ZeroDivisionError"), supervised("theirs", tmp_path):
        1 / 0  # noqa: B018


def test_items_are_fetched_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        yield 1
        print("loading")
        yield 2
        sys.exit(3)

    got: list[int] = []
    with pytest.raises(BadInput, match=r"train raised SystemExit: 3 \(test_supervised.py, line \d+\)"):
        got.extend(supervised_items("train", items(), Path(__file__).parent))
    assert got == [1, 2]
    assert capsys.readouterr().out == ""
    assert list(supervised_items("train", [3, 4])) == [3, 4]


def test_directory_and_arguments_are_what_they_were(tmp_path: Path) -> None:
    here, argv = os.getcwd(), sys.argv
    text = "import argparse\nargparse.ArgumentParser().parse_args()\n" + body(
        "import os, sys; os.chdir('/')", "return sys.argv"
    )
    assert call(write(tmp_path, text), "build") == [str(tmp_path / "mine.py")]
    assert (os.getcwd(), sys.argv) == (here, argv)


def test_other_things_of_the_process_are_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(warnings.filters)
    text = "import sys, warnings\nimport numpy as np\n" + body(
        "np.seterr(all='raise')", "warnings.filterwarnings('error')", "sys.stdout.close()", "sys.stderr.close()",
        "sys.stdout = None", "sys.setrecursionlimit(90)",
    )  # fmt: skip
    deep = sys.getrecursionlimit()
    call(write(tmp_path, text), "build")
    assert sys.getrecursionlimit() == deep
    assert warnings.filters == before
    assert np.geterr()["under"] == "ignore"
    print("out")
    sys.stderr.write("err")
    assert capsys.readouterr() == ("out\n", "err")


FORKING = body(
    "import os, sys", "if (child := os.fork()) == 0:", "    STATEMENT",
    "return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])",
)  # fmt: skip


def ended(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that calls the function and prints what it returns, once more after a quiet line."""
    spec = write(folder, text)
    code = f"from chipfit.core.user_code import call\nprint(call({spec!r}, 'build'), flush=True)"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("statement", "status", "said"),
    [
        ("sys.exit(3)", "3", ""),
        ("sys.exit()", "0", ""),
        ("return 'a second result'", "0", ""),
        ("raise ValueError('theirs')", "1", "a forked process raised ValueError: theirs (mine.py, line 4)"),
    ],
)
def test_a_process_that_it_forks_ends_where_it_ends(tmp_path: Path, statement: str, status: str, said: str) -> None:
    done = ended(tmp_path, FORKING.replace("STATEMENT", statement))
    assert (done.returncode, done.stdout) == (0, f"{status}\n")
    assert done.stderr.strip() == said


@pytest.mark.parametrize(
    "how", ["os.close(1); os.close(2)", "n = os.open('/dev/null', 1); os.dup2(n, 1); os.dup2(n, 2)"]
)
def test_stdout_and_stderr_are_put_back_where_it_closed_them(tmp_path: Path, how: str) -> None:
    done = ended(tmp_path, body("import os", how, "return 'heard'"))
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
