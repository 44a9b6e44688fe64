from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from chipfit.core.errors import Note
from chipfit.device import cache


def test_sections_of_one_device_stay_beside_each_other(tmp_path: Path) -> None:
    cache.keep(tmp_path / "new", "cpu a", "facts", {"overhead_ms": 0.1})
    cache.keep(tmp_path / "new", "cpu a", "scale", {"ladder_ms": [1, 2]})
    assert cache.recall(tmp_path / "new", "cpu a", "facts") == {"overhead_ms": 0.1}
    assert cache.recall(tmp_path / "new", "cpu a", "scale") == {"ladder_ms": [1, 2]}
    assert cache.recall(tmp_path / "new", "cpu b", "facts") is None
    assert [p.suffix for p in (tmp_path / "new").iterdir()] == [".json"], "a temporary file stayed"


def test_who_calibrates_first_sets_the_scale(tmp_path: Path) -> None:
    assert cache.keep(tmp_path, "cpu", "scale", {"ladder_ms": [1.0]}) == {"ladder_ms": [1.0]}
    assert cache.keep(tmp_path, "cpu", "scale", {"ladder_ms": [1.1]}) == {"ladder_ms": [1.0]}


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100_000])
def test_what_cannot_be_read_is_set_aside_and_measured_anew(tmp_path: Path, text: str) -> None:
    cache.file_of(tmp_path, "cpu").write_text(text)
    with pytest.warns(Note, match=r"json is damaged .* set aside as device-\w+\.json\.damaged"):
        assert cache.recall(tmp_path, "cpu", "facts") is None
    assert cache.keep(tmp_path, "cpu", "facts", {"n": 1}) == {"n": 1}
    assert cache.file_of(tmp_path, "cpu").with_suffix(".json.damaged").read_text() == text


def test_what_is_of_another_device_is_left_alone(tmp_path: Path) -> None:
    cache.file_of(tmp_path, "cpu").write_text('{"fingerprint": "another cpu", "facts": {}}')
    assert cache.recall(tmp_path, "cpu", "facts") is None


def ladder(data: Any) -> list[float]:
    return [cache.positive(ms) for ms in data["ladder_ms"]]


@pytest.mark.parametrize(
    "kept", [{}, {"ladder_ms": 3}, {"ladder_ms": ["1"]}, {"ladder_ms": [float("nan")]}, {"ladder_ms": [-1.0]}, 5, "x"]
)
def test_a_section_that_no_device_can_have_is_measured_anew(tmp_path: Path, kept: Any) -> None:
    text = json.dumps({"fingerprint": "cpu", "scale": kept})
    cache.file_of(tmp_path, "cpu").write_text(text)
    with pytest.warns(Note, match="is damaged .scale: "):
        assert cache.known(tmp_path, "cpu", "scale", ladder, lambda: {"ladder_ms": [2.0]}) == [2.0]
    assert cache.known(tmp_path, "cpu", "scale", ladder, lambda: pytest.fail("measured again")) == [2.0]


def test_what_cannot_be_written_holds_for_this_process(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.warns(Note, match="is not kept: .*XDG_CACHE_HOME"):
        assert cache.keep(tmp_path / "cache", "cpu", "scale", {"ladder_ms": [1.0]}) == {"ladder_ms": [1.0]}
    assert cache.recall(tmp_path / "cache", "cpu", "scale") == {"ladder_ms": [1.0]}


@pytest.mark.parametrize("why", ["a file", "no permission", "a full disk"])
def test_a_cache_that_cannot_be_used_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if why == "a file":
        (tmp_path / "home").write_text("")
    else:
        code = errno.EACCES if why == "no permission" else errno.ENOSPC

        def refuse(**_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.warns(Note, match=r"the cache .*home/chipfit cannot be written .*XDG_CACHE_HOME"):
        folder = cache.usable_folder()
    assert folder.is_dir()
    assert cache.usable_folder() == folder, "it is noted once"
    assert folder.name.startswith(f"chipfit-{os.getpid()}-"), "another command would not sweep it"
    folder.rmdir()


def test_what_a_killed_writer_left_is_swept_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "chipfit").mkdir()
    dead, alive = ".a.json.99999999-ab12.part", f".a.json.{os.getpid()}-ab12.part"
    for name in (dead, alive):
        (tmp_path / "chipfit" / name).touch()
    cache.usable_folder()
    assert [p.name for p in (tmp_path / "chipfit").iterdir()] == [alive]


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "chipfit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache.default_folder() == tmp_path / ".cache" / "chipfit"
