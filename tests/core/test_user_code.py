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


@pytest.mark.parametrize("name", ["my model.py", "my-model.v2.py", "123.py", "größe.py", "class.py"])
def test_files_of_odd_names(tmp_path: Path, name: str) -> None:
    file = write(
        tmp_path,
        "from dataclasses import dataclass\n@dataclass\nclass B:\n    x: int = 3\ndef build():\n    return B().x\n",
        name,
    )
    assert call(f"{file}:build", "build") == 3


def test_relative_imports_beside_the_file_and_in_a_package(tmp_path: Path) -> None:
    write(tmp_path, "WIDTH = 5\n", "blocks_beside.py")
    file = write(tmp_path, "from .blocks_beside import WIDTH\ndef build():\n    return WIDTH\n")
    assert call(f"{file}:build", "build") == 5
    models, layers = tmp_path / "package" / "models", tmp_path / "package" / "layers"
    for folder in (models, layers):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('not run')\n" if folder is models else "DEPTH = 4\n")
    (tmp_path / "package" / "__init__.py").write_text("")
    file = write(models, "from ..layers import DEPTH\ndef build():\n    return DEPTH\n")
    assert call(f"{file}:build", "build") == 4


def test_two_folders_may_each_have_a_module_of_the_same_name(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"VALUE = {value}\n", "layers_of_mine.py")
        write(tmp_path / name, "from layers_of_mine import VALUE\ndef build():\n    return VALUE\n")
    assert [call(f"{tmp_path}/{n}/mine.py:build", "build") for n in ("one", "two", "one")] == [1, 2, 1]


def test_a_script_is_not_run_as_one(tmp_path: Path) -> None:
    file = write(tmp_path, "def build():\n    return __name__\nif __name__ == '__main__':\n    raise SystemExit(1)\n")
    assert call(f"{file}:build", "build") != "__main__"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(BadInput, match="is no file; give the path of your Python file"):
        call(f"{tmp_path}/folder.py:build", "build")
