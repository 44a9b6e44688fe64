"""`chipfit.yaml` from a stranger: it is read within stated bounds, or refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chipfit.api import config_file
from chipfit.core.errors import BadInput

ALIASES = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: " + "[" * 3000 + "]" * 3000, "line 1: more than 8 levels"),
        ("\n".join(" " * k + f"k{k}:" for k in range(40)), "line 9: more than 8 levels"),
        ("{" * 3000, "line 1: more than 8 levels"),
        (ALIASES, r"line 2: the alias \*a is not allowed; write the value out"),
        ("a: &a\n  b: *a", r"line 2: the alias \*a"),
        ("base: &b {time: 1m}\n<<: *b", r"line 2: the alias \*b"),
        ("# " + "x" * 70_000, "has 70002 bytes, options take at most 65536"),
        ("time: 2020-13-45", "holds a value that YAML cannot read .* put it in quotes"),
        ("time: !!int ''", "line 1: the tag 'tag:yaml.org,2002:int' is not allowed; write the plain value"),
        ("a: b\n!!timestamp 1m: 1m", "line 2: the tag "),
        ("!!set {a}", "line 1: the tag "),
        ("seed: " + "9" * 5000, "holds a value that YAML cannot read"),
        ("time: !!python/object:os.system x", "line 1: the tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("time: 1m\nseed: 3\ntime: 2m", "'time' stands on line 1 and on line 3; keep one"),
        ("input-shape: 1x2x2\ninput_shape: 1x3x3", "'input_shape' stands on line 1 and on line 2"),
        ("time: 1m\n---\ntime: 2m", "is not YAML at line 2"),
        ("time: \x07", "is not YAML: special characters are not allowed"),
        ("? [a, b]\n: c", "is not YAML at line 1"),
        ("- time", "holds a list, not options"),
        ("time", "holds a str, not options"),
    ],
)
def test_what_is_no_file_of_options_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "chipfit.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=said) as caught:
        config_file.read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "chipfit.yaml"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(BadInput, match="is no plain file"):
            config_file.read(path)
    for name in ("absent.yaml", "x" * 5000, "null\0.yaml"):
        with pytest.raises(BadInput, match="cannot be read"):
            config_file.read(tmp_path / name)


def test_ordinary_files_are_read_whatever_their_line_ends_and_marks(tmp_path: Path) -> None:
    path = tmp_path / "chipfit.yaml"
    path.write_bytes(b"\xef\xbb\xbfmodels: [a, b]\r\ninput-shape: 1x2x2\r\n")
    assert config_file.read(path) == {"models": ["a", "b"], "input_shape": "1x2x2"}
    for nothing in ("", "# nothing\n", "~", "---\n"):
        path.write_text(nothing)
        assert config_file.read(path) == {}
