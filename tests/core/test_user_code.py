from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.user_code import call


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_returns_what_the_function_returns_and_siblings_are_importable(tmp_path: Path) -> None:
    write(tmp_path, "VALUE = 41\n", "sibling_of_mine.py")
    file = write(
        tmp_path,
        "from dataclasses import dataclass\nfrom sibling_of_mine import VALUE\n"
        "@dataclass\nclass Box:\n    value: int\ndef build():\n    return Box(VALUE + 1)\n",
    )
    path = list(sys.path)
    assert call(f"{file}:build", "build").value == 42  # type: ignore[attr-defined]
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def build(): pass\n", "biuld", r"no function 'biuld'; did you mean 'build'\?; it has: build"),
        ("build = 3\n", "build", "'build' is a int, not a function"),
        (
            "def build():\n    raise ValueError('no\\nluck')\n",
            "build",
            r"raised ValueError: no luck \(mine.py, line 2\)",
        ),
        ("def build():\n    raise SystemExit(3)\n", "build", r"raised SystemExit: 3"),
        ("def build(width):\n    pass\n", "build", r"TypeError: build\(\) missing 1 required positional argument"),
        ("import nowhere_to_be_found\n", "build", r"importing mine.py raised ModuleNotFoundError.*line 1"),
        ("def build(:\n", "build", r"importing mine.py raised SyntaxError.*line 1"),
    ],
)
def test_each_error_is_one_line_with_its_place(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        call(f"{write(tmp_path, text)}:{name}", "build")
    assert "\n" not in str(caught.value)


def test_missing_file_and_missing_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        call(f"{tmp_path}/absent.py:build", "build")
    with pytest.raises(BadInput, match=r"absent.py:build$"):
        call("absent.py", "build")
