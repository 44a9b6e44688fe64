"""Bad files of weights and pictures."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from front_case import BAD, CHECK, FINE, LIMIT, MODEL, Case, put, text, with_data

# Weights


def _states() -> dict[str, object]:
    import torch

    space: dict[str, object] = {}
    exec(MODEL, space)
    good = space["build"]().state_dict()  # type: ignore[operator]
    first = "0.weight"

    def having(change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: (change(v) if k == first else v) for k, v in good.items()}

    return {
        "nan": having(lambda v: v * float("nan")), "int8": having(lambda v: v.to(torch.int8)),
        "missing": {first: good[first]},
        "shape": having(lambda v: v[:, :, :2]), "extra": {**good, "more.weight": torch.zeros(3)},
        "bool": having(lambda v: v > 0), "complex": having(lambda v: v.to(torch.complex64)),
        "list": list(good.values()),
        "number": 3, "none": None, "wrapped": {"model": 1}, "sparse": having(lambda v: v.to_sparse()),
        "meta": having(lambda v: v.to("meta")), "inf": having(lambda v: v / 0), "empty": {},
        "strings": dict.fromkeys(good, "x"),
        "nested": {"state_dict": {"model": {"weights": 1}}}, "int keys": dict(enumerate(good.values())),
        "float8": having(lambda v: v.to(torch.float8_e4m3fn)),
        "half": {k: v.half() if v.is_floating_point() else v for k, v in good.items()},
    }  # fmt: skip


def weights(rng: np.random.Generator) -> Iterator[Case]:
    """Files of weights: damaged, mislabelled, of the wrong content."""
    import torch
    from safetensors.torch import save

    def saved(state: object) -> bytes:
        made = io.BytesIO()
        torch.save(state, made)
        return made.getvalue()

    states = _states()
    good = saved(states["half"])
    for name, state in states.items():
        codes = FINE if name in ("half", "extra") else BAD
        yield _weights(name, ".pt", saved(state), codes)
        if name in ("nan", "int8", "shape", "bool", "missing", "extra", "float8", "inf"):
            yield _weights(name, ".safetensors", save({k: v.contiguous() for k, v in state.items()}), codes)  # type: ignore[union-attr,attr-defined]

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return os.system, ("touch evil",)

    yield _weights("pickle with code", ".pth", saved(Evil()))
    whole = {"pt": good, "safetensors": save({"0.weight": torch.zeros(3)})}
    for suffix, data in whole.items():
        for cut in sorted(rng.integers(1, len(data), 3).tolist()):
            yield _weights(f"cut at {cut}", f".{suffix}", data[:cut])
    for suffix in (".pt", ".safetensors", ".bin", ".npz", ""):
        yield _weights("empty", suffix, b"")
        yield _weights("words", suffix, b"hello, these are no weights")
        yield _weights("noise", suffix, rng.bytes(300))
    yield _weights("torch as safetensors", ".safetensors", good, FINE)
    yield _weights("safetensors as torch", ".pt", whole["safetensors"])
    yield _weights("header of 2^60", ".safetensors", (1 << 60).to_bytes(8, "little") + b"{}")
    yield _weights("header no json", ".safetensors", (4).to_bytes(8, "little") + b"{{{{")
    yield Case("weights are a folder", _with_weights("w.pt"), lambda f: (f / "w.pt").mkdir())
    yield Case("weights are a pipe", _with_weights("w.pt"), lambda f: os.mkfifo(f / "w.pt"))


def _with_weights(file: str) -> tuple[str, ...]:
    return (*CHECK, *LIMIT, "--weights", file)


def _weights(name: str, suffix: str, data: bytes, codes: tuple[int, ...] = BAD) -> Case:
    return Case(f"weights{suffix} {name}", _with_weights(f"w{suffix}"), lambda f: put(f / f"w{suffix}", data), codes)


# Pictures


def png(rng: np.random.Generator, size: tuple[int, int] = (8, 8), mode: str = "L") -> bytes:
    """A picture of noise."""
    from PIL import Image

    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "1": ()}[mode]
    values = rng.integers(0, 256, (*size, *channels)).astype(np.uint8)
    made = io.BytesIO()
    (Image.fromarray(values, mode if mode != "1" else "L").convert(mode)).save(made, "PNG")
    return made.getvalue()


def _folder(rng: np.random.Generator, each: int = 30) -> dict[str, bytes]:
    return {f"pics/{c}/{n}.png": png(rng) for c in "ab" for n in range(each)}


def pictures(rng: np.random.Generator) -> Iterator[Case]:
    """Folders and zips of pictures that are none, or broken, or not alike."""
    good = _folder(rng)
    first = next(iter(good))
    broken: dict[str, dict[str, bytes]] = {
        "empty folder": {}, "only words": {"pics/a/x.txt": b"x", "pics/b/y.txt": b"y"},
        "one picture": {first: good[first]},
        "one is cut": {**good, first: good[first][:40]}, "one is empty": {**good, first: b""},
        "one is words": {**good, first: b"no picture"}, "one is larger": {**good, first: png(rng, (9, 9))},
        "one is of noise": {**good, first: rng.bytes(100)},
        "five each": {k: v for k, v in good.items() if int(Path(k).stem) < 3},
        "a class without pictures": {**good, "pics/c/readme.md": b"x"},
        "one class": {k: v for k, v in good.items() if "/a/" in k},
        "train alone": {k.replace("pics/", "pics/train/"): v for k, v in good.items() if "/a/" in k},
        "gif as png": {**good, first: b"GIF89a" + b"\0" * 20},
        "svg": {k.replace(".png", ".svg"): v for k, v in good.items()},
    }  # fmt: skip
    for name, files in broken.items():
        codes = (0, 2) if name in ("a class without pictures", "one class") else BAD
        yield Case(f"pictures: {name}", with_data("pics"), _filled(files), codes)
        if files:
            yield Case(f"zip: {name}", with_data("pics.zip"), _zipped(files), codes)
    whole = _zip(good)
    for cut in sorted(rng.integers(1, len(whole), 3).tolist()):
        yield Case(f"zip cut at {cut}", with_data("pics.zip"), lambda f, n=cut: put(f / "pics.zip", whole[:n]))  # type: ignore[misc]
    yield Case("zip: words", with_data("pics.zip"), text("pics.zip", "no zip"))
    yield Case("zip: empty", with_data("pics.zip"), text("pics.zip", ""))
    yield Case("zip that climbs", with_data("pics.zip"), _zipped({f"../../{k}": v for k, v in good.items()}), FINE)
    yield Case("a link in a circle", with_data("pics"), _circle(good), FINE)
    yield Case("a pipe among pictures", with_data("pics"), _pipe(good), FINE)
    yield Case("a picture as data", with_data("p.png"), lambda f: put(f / "p.png", png(rng)))
    yield Case("a folder called x.zip", with_data("pics.zip"), lambda f: (f / "pics.zip").mkdir())


def _filled(files: dict[str, bytes]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "pics").mkdir()
        for name, data in files.items():
            put(folder / name, data)

    return fill


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as together:
        for name, data in files.items():
            together.writestr(name, data)
    return made.getvalue()


def _zipped(files: dict[str, bytes]) -> Callable[[Path], None]:
    return lambda folder: put(folder / "pics.zip", _zip(files))


def _circle(files: dict[str, bytes]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        _filled(files)(folder)
        (folder / "pics/a/again").symlink_to(folder / "pics")

    return fill


def _pipe(files: dict[str, bytes]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        _filled(files)(folder)
        os.mkfifo(folder / "pics/a/pipe.png")

    return fill
