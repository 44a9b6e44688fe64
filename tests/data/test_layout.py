"""Class folders and parts in every arrangement; that of one class is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.pictures import load
from data.files import png, two_classes


def test_one_folder_alone_is_unlabelled_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "set" / "cat").mkdir(parents=True)
    for k in range(10):
        (tmp_path / "set" / "cat" / f"{k}.png").write_bytes(png(k))
    d = load(tmp_path / "set", resize=None, normalize=None)
    assert not d.labelled
    assert "all pictures stand in one folder, 'cat', so they have no labels: two folders make classes" in d.notes
    loose = load(tmp_path / "set" / "cat", resize=None, normalize=None)
    assert not any("one folder" in n for n in loose.notes)


def test_unlabelled_parts_agree_or_are_told(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        for k in range(10):
            (tmp_path / part / f"{k}.png").write_bytes(png(k + 100 * len(part)))
    assert not load(tmp_path, resize=None, normalize=None).labelled
    two_classes(tmp_path / "test")
    with pytest.raises(BadInput, match="'test' holds only class folders, which train has not; give all parts class"):
        load(tmp_path, resize=None, normalize=None)


def test_labelled_train_with_loose_validation_is_told(tmp_path: Path) -> None:
    two_classes(tmp_path / "train")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "0.png").write_bytes(png(77))
    with pytest.raises(BadInput, match="'val' holds no pictures of the classes of train; fill it"):
        load(tmp_path, resize=None, normalize=None)


def test_a_class_folder_whose_files_are_passed_over_says_which(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    (root / "c").mkdir()
    (root / "c" / "x.heic").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"class folder 'c' holds no pictures; fill or remove it; 1 file .*: 1 \.heic"):
        load(root, resize=None, normalize=None)


def test_more_classes_than_a_network_has_outputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLASSES", 1)
    with pytest.raises(BadInput, match="has 2 class folders, at most 1 are possible"):
        load(two_classes(tmp_path), resize=None, normalize=None)


@pytest.mark.parametrize("name", ["dev", "development", "valid"])
def test_names_of_the_validation_part(tmp_path: Path, name: str) -> None:
    two_classes(tmp_path / "training")
    two_classes(tmp_path / name)
    d = load(tmp_path, resize=None, normalize=None)
    assert len(d.validation) == sum(1 for _ in (tmp_path / name).rglob("*.png"))
    assert not any("outside" in n for n in d.notes)


def test_a_folder_beside_the_parts_is_named(tmp_path: Path) -> None:
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "extra")
    (tmp_path / "train" / "loose.png").write_bytes(png(999))
    n = sum(1 for p in (tmp_path / "extra").rglob("*.png"))
    d = load(tmp_path, resize=None, normalize=None)
    assert f"{n + 1} pictures outside the class folders left out: {n} in 'extra', 1 in 'train'" in d.notes
