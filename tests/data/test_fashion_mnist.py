from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.data import fashion_mnist
from chipfit.data.load import load_data
from chipfit.data.split import fingerprints


def write(folder: Path, train: int = 55_010, test: int = 7) -> None:
    """Four files in the format, with labels and pixels that tell the row."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", train), ("t10k", test)):
        images = np.zeros((n, 28 * 28), np.uint8)
        images[:, 0] = np.arange(n) % 251
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(b"\0\0\x08\x03" + bytes(12) + images.tobytes(), 1)
        )
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(b"\0\0\x08\x01" + bytes(4) + labels.tobytes(), 1)
        )


def test_the_split_is_by_row(tmp_path: Path) -> None:
    write(tmp_path)
    d = fashion_mnist.load(tmp_path)
    assert (len(d.train), len(d.validation), len(d.open_test())) == (55_000, 10, 7)
    assert d.input_shape == (1, 28, 28)
    assert d.validation.inputs[:, 0, 0, 0].tolist() == [(55_000 + k) % 251 for k in range(10)]
    assert d.validation.targets is not None
    assert d.validation.targets.tolist() == list(range(10))


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPFIT_FASHION_MNIST", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    looked = list(fashion_mnist.folders())
    assert looked[0] == tmp_path / "given"
    assert looked[-1] == tmp_path / "cache" / "chipfit" / "fashion-mnist"
    write(tmp_path / "given", 55_001, 1)
    assert fashion_mnist.find() == tmp_path / "given"
    assert load_data("fashion-mnist").digest() == load_data(str(tmp_path / "given")).digest()


def test_the_three_ways_are_named_where_it_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "folders", lambda: iter(()))
    with pytest.raises(BadInput, match=r"apt-get install dataset-fashion-mnist.*CHIPFIT_FASHION_MNIST.*digits"):
        fashion_mnist.load()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train-images-idx3-ubyte.gz", b"no gzip", "is damaged"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"<html>not here</html>", mtime=0), "not an IDX file"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(b"\0\0\x08\x03" + bytes(112), mtime=0),
            "100 bytes are no whole number",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            gzip.compress(b"\0\0\x08\x01" + bytes(4) + b"\x0c", mtime=0),
            r"label 12 is outside 0..9",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    write(tmp_path, 3, 1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=f"{name}.*{said}"):
        fashion_mnist.load(tmp_path)


def test_the_real_files_are_what_the_zoo_was_trained_on() -> None:
    if (at := fashion_mnist.find()) is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    d = fashion_mnist.load(at)
    test = d.open_test()
    assert (len(d.train), len(d.validation), len(test)) == (55_000, 5_000, 10_000)
    assert d.validation.targets is not None
    assert np.bincount(d.validation.targets).tolist() == [521, 497, 490, 508, 527, 503, 467, 450, 515, 522]
    assert float(d.train.inputs.mean()) / 255 == pytest.approx(d.mean[0], abs=5e-5)
    assert float(d.train.inputs.std()) / 255 == pytest.approx(d.std[0], abs=5e-5)
    # Disjoint by rows; the set itself holds a few pictures twice.
    train, rest = set(fingerprints(d.train)), fingerprints(d.validation) + fingerprints(test)
    assert sum(p in train for p in rest) < 100
