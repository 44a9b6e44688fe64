from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": "another cpu", "facts": {}}'])
def test_what_cannot_be_read_is_measured_anew(tmp_path: Path, text: str) -> None:
    cache.file_of(tmp_path, "cpu").write_text(text)
    assert cache.recall(tmp_path, "cpu", "facts") is None
    assert cache.keep(tmp_path, "cpu", "facts", {"n": 1}) == {"n": 1}


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "chipfit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache.default_folder() == tmp_path / ".cache" / "chipfit"
