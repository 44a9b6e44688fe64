"""A grammar of what goes wrong at the front door: files, tables, configurations and arguments, each a command line.

Every case is a folder that is filled, the words of one command, and the exit codes that are right.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
"""
BASE = ("--device", "null", "--no-train", "--time", "20s", "--no-baselines", "-q")
FIT = ("fit", "net.py:build", "--data", "digits", *BASE, "--out", "run")
CHECK = ("check", "net.py:build", "--device", "null", "-q", "--input-shape", "1,8,8")
SLOW_MAX = ("--max", "macs=60%")
BAD, FINE = (2,), (0, 2, 3)


@dataclass(frozen=True)
class Case:
    """A command that a user might type: `fill` makes the files of its folder; `one_line` where stderr has one line."""

    name: str
    words: tuple[str, ...]
    fill: Callable[[Path], None] = lambda folder: None
    codes: tuple[int, ...] = BAD
    one_line: bool = True


def text(name: str, content: str) -> Callable[[Path], None]:
    """A file with these words."""
    return lambda folder: put(folder / name, content.encode())


def put(path: Path, data: bytes) -> None:
    """Writes bytes where there may be no folder yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def cases(rng: np.random.Generator) -> list[Case]:
    """All of them; numbers and cuts are drawn."""
    makers = (arguments, weights, pictures, loaders, models, configurations, tables, runs, onnx_files)
    return [case for make in makers for case in make(rng)]


# Arguments

VALUES: dict[str, tuple[str, ...]] = {
    "--max": (
        "", "latency_ms", "latency_ms=", "latency_ms=-5", "latency_ms=0", "latency_ms=nan", "latency_ms=inf",
        "latency_ms=5,5",
        "latncy_ms=5", "latency_ms=5ms", "latency_ms=1e999", "latency_ms=%", "accuracy=0.9", "=5", "latency_ms==5",
        "latency_ms=٣", "latency_ms=0x10", "size_mb=1_0", "latency_ms=60%%",
    ),
    "--min": (
        "accuracy", "accuracy=nan", "accuracy=-1", "accuracy=200%", "accuracy=1.5", "acc=0.9", "latency_ms=5", "accuracy=ninety",
    ),
    "--bits": ("x", "", "16", "32,4", "8,,8x", "-8", "1e1", "32;8"),
    "--budgets": ("", "abc", "0%", "-40%", "40%,", "40%,x", "nan%", ",", "40% 20%"),
    "--time": ("", "x", "-5s", "0", "5 parsecs", "nan", "inf", "1e400s", "10", "5m5"),
    "--device": ("", ",", "lokal", "null,", "gpu", "predicted:", "predicted:nobody", "null,null2", "../x"),
    "--seed": ("-1", "x", "1.5", "99999999999999999999999999"),
    "--epochs": ("0", "-1", "nan", "inf", "many"),
    "--starts": ("0", "-3", "x"),
    "--resize": ("8", "0x8", "-8x8", "8x8x8", "axb", "99999999x99999999", "8,8", ""),
    "--normalize": ("0.5", "0.5,0", "a,b", "0.1/0.2,0.3", "nan,1", "0.5,-1", "0,5,0,5", ""),
    "--keep": ("nothing_of_this_name", "0.0.0", "*"),
    "--input-shape": ("1", "1,8", "0,8,8", "-1,8,8", "1,8,8,8", "a,b,c", "3,8,8", "1,9,9", ""),
    "--minimize": ("speed", "accuracy", ""),
    "--weights": ("none.safetensors", "a,b", ""),
    "--data": (
        "", "nowhere", "digitz", "data.py", "nofile.py:loaders", "net.py:build", "/dev/null", "http://x/y.zip", "\u2603",
    ),
}  # fmt: skip
"""Options with values that none of them takes."""

TAKEN = {
    ("--max", "latency_ms=٣"), ("--keep", "*"), ("--budgets", "40%,"), ("--device", "null,"), ("--time", "10"),
    ("--max", "size_mb=1_0"), ("--resize", "8"), ("--resize", "8,8"), ("--seed", "99999999999999999999999999"),
    ("--weights", ""), ("--keep", ""),
}  # fmt: skip
"""Values that may be understood, or refused."""


def arguments(rng: np.random.Generator) -> Iterator[Case]:
    """One bad value of one option."""
    for option, values in VALUES.items():
        for value in values:
            words = _without(FIT, option)
            if option not in ("--max", "--budgets"):
                words = (*words, *SLOW_MAX)
            codes = FINE if (option, value) in TAKEN else BAD
            yield Case(f"{option} {value!r}", (*words, option, value), codes=codes)
    numbers = [f"{rng.normal() * 10 ** int(rng.integers(-300, 300)):.3g}" for _ in range(6)]
    for number in numbers:
        codes = (2,) if number.startswith("-") or float(number) == 0 else (0, 2, 3)
        yield Case(f"number {number}", (*CHECK, "--max", f"latency_ms={number}"), codes=codes)
    for words in (
        ("ft", "x"),
        ("fit",),
        ("fit", "--nope"),
        ("export",),
        ("predict",),
        ("predict", "what"),
        ("fit", "--max"),
    ):
        yield Case(" ".join(words), words, codes=FINE if words == ("predict",) else BAD, one_line=words != ("predict",))
    yield Case("--out of 300 characters", (*_without(FIT, "--out"), *SLOW_MAX, "--out", "x" * 300))
    yield Case("--out is a file", (*FIT, *SLOW_MAX), text("run", "mine"))
    yield Case("--out below a file", (*_without(FIT, "--out"), *SLOW_MAX, "--out", "net.py/run"))
    yield Case("--out is a folder of others", (*FIT, *SLOW_MAX), text("run/letter.txt", "mine"), codes=FINE)
    yield Case("--out with a zero", (*_without(FIT, "--out"), *SLOW_MAX, "--out", "a\0b"))
    yield Case(
        "--out odd but fine", (*_without(FIT, "--out"), "--out", "r [ü] 'x'", *SLOW_MAX), codes=(0,), one_line=False
    )


def _without(words: Sequence[str], option: str) -> tuple[str, ...]:
    if option not in words:
        return tuple(words)
    at = list(words).index(option)
    return (*words[:at], *words[at + 2 :])


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
        "nested": {"state_dict": {"model": {"weights": 1}}}, "int keys": {n: v for n, v in enumerate(good.values())},
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
    return (*CHECK, *SLOW_MAX, "--weights", file)


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
        yield Case(f"pictures: {name}", _with_data("pics"), _filled(files), codes)
        if files:
            yield Case(f"zip: {name}", _with_data("pics.zip"), _zipped(files), codes)
    whole = _zip(good)
    for cut in sorted(rng.integers(1, len(whole), 3).tolist()):
        yield Case(f"zip cut at {cut}", _with_data("pics.zip"), lambda f, n=cut: put(f / "pics.zip", whole[:n]))  # type: ignore[misc]
    yield Case("zip: words", _with_data("pics.zip"), text("pics.zip", "no zip"))
    yield Case("zip: empty", _with_data("pics.zip"), text("pics.zip", ""))
    yield Case("zip that climbs", _with_data("pics.zip"), _zipped({f"../../{k}": v for k, v in good.items()}), FINE)
    yield Case("a link in a circle", _with_data("pics"), _circle(good), FINE)
    yield Case("a pipe among pictures", _with_data("pics"), _pipe(good), FINE)
    yield Case("a picture as data", _with_data("p.png"), lambda f: put(f / "p.png", png(rng)))
    yield Case("a folder called x.zip", _with_data("pics.zip"), lambda f: (f / "pics.zip").mkdir())


def _with_data(data: str) -> tuple[str, ...]:
    return (*_without(FIT, "--data"), "--data", data, *SLOW_MAX)


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


# The user's own code

LOADERS = """
import numpy as np, sys
rng = np.random.default_rng(0)
x, y = rng.random((80, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 80)
def loaders():
    {0}
"""
LOADS: dict[str, str] = {
    "raises": "raise RuntimeError('two\\nlines')", "exits": "sys.exit(7)", "exits well": "sys.exit(0)",
    "nothing": "return None",
    "a number": "return 3", "empty": "return {}", "no train": "return {'validation': [(x, y)]}",
    "nan": "x[3] = np.nan; return {'train': [(x, y)]}",
    "inf": "x[3] = np.inf; return {'train': [(x, y)]}", "float labels": "return {'train': [(x, y + .5)]}",
    "negative labels": "return {'train': [(x, y - 3)]}", "huge label": "y[0] = 10**9; return {'train': [(x, y)]}",
    "uint64 label": "return {'train': [(x, np.full(80, 2**64 - 1, np.uint64))]}",
    "one-hot": "return {'train': [(x, np.eye(10)[y])]}",
    "short labels": "return {'train': [(x, y[:5])]}", "no rows": "return {'train': []}",
    "int inputs": "return {'train': [((x * 9).astype(int), y)]}",
    "objects": "return {'train': [(np.array([None] * 80), y)]}", "three axes": "return {'train': [(x[:, 0], y)]}",
    "ragged": "return {'train': [(x, y), (x[:, :, :4], y)]}", "words": "return {'train': [(np.array(['a'] * 80), y)]}",
    "eleven classes": "y[0] = 10; return {'train': [(x, y)]}",
    "other shape": "return {'train': [(x[:, :, :4, :4], y)]}",
    "generator raises": "\n    def g():\n        yield x, y\n        raise OSError('disk')\n    return {'train': g()}",
    "unknown parts": "return {'train': [(x, y)], 'tset': [(x, y)]}", "interrupts": "raise SystemExit('so long')",
    "one class": "return {'train': [(x, y * 0)]}",
    "three rows": "return {'train': [(x[:3], y[:3])]}", "fifteen rows": "return {'train': [(x[:15], y[:15])]}",
    "complex": "return {'train': [(x * 1j, y)]}",
    "recursion": "return loaders()", "memory": "raise MemoryError",
    "classes disagree": "return {'train': [(x, y)], 'classes': ['a']}",
}  # fmt: skip


def loaders(rng: np.random.Generator) -> Iterator[Case]:
    """What a function of the user's may give as data."""
    for name, body in LOADS.items():
        codes = FINE if name in ("one class",) else BAD
        yield Case(f"loaders: {name}", _with_data("data.py:loaders"), text("data.py", LOADERS.format(body)), codes)
    yield Case("loaders: syntax", _with_data("data.py:loaders"), text("data.py", "def loaders(:\n"))
    yield Case("loaders: no such import", _with_data("data.py:loaders"), text("data.py", "import nothing_like_it\n"))
    yield Case("loaders: wants arguments", _with_data("data.py:loaders"), text("data.py", "def loaders(a): pass\n"))
    yield Case("loaders: binary", _with_data("data.py:loaders"), lambda f: put(f / "data.py", rng.bytes(50)))


NET = """
import sys, time, os
import torch
from torch import nn
from torch.nn import functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)
    def forward(self, x):
        y = self.f(self.c(x).relu().mean((2, 3)))
        {1}
        return y
def build():
    net = Net()
    {0}
    return net
"""
NETS: dict[str, tuple[str, str]] = {
    "raises": ("raise ValueError('a\\nb')", ""), "exits": ("sys.exit(3)", ""), "nothing": ("return None", ""),
    "the class": ("return Net", ""),
    "a dict": ("return net.state_dict()", ""), "nan": ("net.c.weight.data[0] = float('nan')", ""),
    "forward raises": ("", "raise KeyError('no')"),
    "forward exits": ("", "sys.exit(7)"), "tuple": ("", "return y, y"), "dict": ("", "return {'out': y}"),
    "list": ("", "return [y]"),
    "none": ("", "return None"), "number": ("", "return 3"), "map": ("", "return self.c(x)"),
    "scalar": ("", "return y.sum()"),
    "random": ("", "return y + torch.rand(1)"), "dropout": ("", "return F.dropout(y)"),
    "batch": ("", "return F.softmax(y, 0)"),
    "branches on data": ("", "y = y if y.sum() > 0 else -y"),
    "numpy": ("", "y = torch.from_numpy(y.detach().numpy() * 2)"),
    "item": ("", "y = y * y.max().item()"), "int out": ("", "return y.argmax(1)"), "double": ("", "return y.double()"),
    "half": ("net.half()", ""),
    "complex": ("", "return torch.fft.fft(y)"), "lstm": ("", "return nn.LSTM(10, 10)(y)[0]"),
    "sort": ("", "return y.sort(1)[0]"),
    "on meta": ("net = net.to('meta')", ""), "second input": ("net.forward = lambda x, z: x", ""),
    "lambda": ("return lambda x: x", ""),
    "empty": ("return nn.Sequential()", ""), "flatten alone": ("return nn.Flatten()", ""),
    "wants 3 channels": ("net.c = nn.Conv2d(3, 16, 3)", ""),
    "closes stderr": ("", "y = y + 0 * len(os.environ)"), "inf": ("net.f.bias.data[0] = float('inf')", ""),
    "recursion": ("return build()", ""),
    "memory": ("raise MemoryError", ""), "interrupt": ("raise SystemExit", ""),
    "hooks": ("net.register_forward_hook(lambda m, i, o: o * 2)", ""),
    "quantised": ("net = torch.ao.quantization.quantize_dynamic(net)", ""), "jit": ("net = torch.jit.script(net)", ""),
    "sparse": ("net.f.weight = nn.Parameter(net.f.weight.to_sparse())", ""),
}  # fmt: skip
ALLOWED = {"item", "closes stderr", "half", "hooks", "jit", "flatten alone", "double", "numpy"}
"""Networks that may be understood, or refused."""


def models(rng: np.random.Generator) -> Iterator[Case]:
    """What a function of the user's may give as a model, and what may be said in its place."""
    for name, (build, forward) in NETS.items():
        words = ("check", "net.py:build", "--device", "null", "-q", "--input-shape", "1,8,8", *SLOW_MAX)
        codes = FINE if name in ALLOWED else BAD
        yield Case(f"model: {name}", words, text("net.py", NET.format(build, forward)), codes)
    yield Case(
        "model: prints",
        (*CHECK, *SLOW_MAX, "--json"),
        text("net.py", NET.format("print('built')", "print('x')")),
        (0,),
        False,
    )
    said = (
        "net.py", "net.py:", ":build", "net.py:nothing", "nofile.py:build", "zoo:", "zoo:none",
        "zoo:fashion-mnist/none", "timm:x", "hf:x", "w.pt",
        "none.onnx", "", "net.py:build:x", "zoo:fashion-mnist/lenet5", "/", "net.PY:build", "torch.nn:Linear",
        "object:x", "x.pt2",
    )  # fmt: skip
    for spec in said:
        words = ("check", spec, "--device", "null", "-q", "--input-shape", "1,8,8", *SLOW_MAX)
        yield Case(f"model {spec!r}", words)
    yield Case("no input shape", ("check", "net.py:build", "--device", "null", "-q", *SLOW_MAX))


# Configurations

YAMLS: dict[str, str] = {
    "unknown key": "modles: net.py:build", "a list": "- a\n- b", "a word": "hello", "a number": "3", "empty": "",
    "tabs": "models:\n\t- x",
    "unclosed": "models: [net.py:build", "twice": "models: a\nmodels: b",
    "tag": "models: !!python/object/apply:os.system ['touch evil']",
    "null": "models: null", "nested": "models: {a: {b: c}}", "date": "time: 2024-01-01", "nan": "epochs: .nan",
    "inf": "epochs: .inf", "bool": "bits: yes",
    "huge": "seed: " + "9" * 400, "anchor": "a: &a [x]\nb: *a", "binary": "models: !!binary R0lGODlh",
    "colon": "models: net.py: build", "bits": "bits: [32, eight]",
    "max list": "max: [[latency_ms, 5]]", "max map": "max: {latency_ms: [5]}", "max none": "max: {latency_ms: }",
    "int key": "3: 4", "time float": "time: 1.5",
    "deep": "models: " + "[" * 3000 + "]" * 3000, "undefined": "models: *nowhere",
    "documents": "models: a\n---\nmodels: b", "long": "x" * 100000,
}  # fmt: skip


def configurations(rng: np.random.Generator) -> Iterator[Case]:
    """What chipfit.yaml may hold."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for name, content in {**YAMLS, "aliases": bomb + "models: *i"}.items():
        yield Case(f"yaml: {name}", ("fit", "--config", "c.yaml", "-q", "--device", "null"), text("c.yaml", content))
    words = ("fit", "--config", "c.yaml", "-q")
    yield Case("yaml: bytes", words, lambda f: put(f / "c.yaml", b"\xff\xfe\x00models"))
    yield Case("yaml: noise", words, lambda f: put(f / "c.yaml", rng.bytes(100)))
    yield Case("yaml: none", words)
    yield Case("yaml: a folder", words, lambda f: (f / "c.yaml").mkdir())
    yield Case("yaml: a pipe", words, lambda f: os.mkfifo(f / "c.yaml"))


# Tables of the predictor


def _table(n: int = 30, **changes: object) -> bytes:
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {
        "names": np.array([f"n{i}" for i in range(n)]), "devices": np.array(["d1", "d2"]),
        "values": rng.random((n, 2)) + 1,
        "metric": np.array("latency_ms"), "genes": rng.integers(0, 4, (n, 5)), "operators": np.array(list("abcd")),
    }  # fmt: skip
    arrays |= changes
    made = io.BytesIO()
    np.savez(made, allow_pickle=True, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return made.getvalue()


TABLES: dict[str, dict[str, object]] = {
    "no values": {"values": None}, "no names": {"names": None}, "no networks": {"genes": None},
    "short": {"values": np.ones((3, 2))},
    "text": {"values": np.full((30, 2), "x")}, "negative": {"values": -np.ones((30, 2))},
    "inf": {"values": np.full((30, 2), np.inf)},
    "all nan": {"values": np.full((30, 2), np.nan)}, "objects": {"values": np.full((30, 2), None, object)},
    "names twice": {"names": np.array(["a"] * 30)},
    "other metric": {"metric": np.array("speed")}, "gene out of range": {"genes": np.full((30, 5), 9)},
    "negative gene": {"genes": np.full((30, 5), -1)},
    "fractions": {"genes": np.full((30, 5), 0.5)}, "negative edges": {"edges": np.array([[0, -1]])},
    "letters in edges": {"edges": np.array([["a", "b"]])},
    "node 99": {"edges": np.array([[0, 99]])}, "a circle": {"edges": np.array([[0, 1], [1, 0]])},
    "devices twice": {"devices": np.array(["d", "d"])},
    "graphs of words": {"genes": None, "operators": None, "graphs": np.array(["{}"] * 30)},
    "no devices": {"devices": np.array([], str), "values": np.zeros((30, 0))},
    "empty names": {"names": np.array([""] * 30)}, "zeros": {"values": np.zeros((30, 2))},
    "one dimension": {"values": np.ones(30)},
}  # fmt: skip
SAMPLES = "name,latency_ms\n" + "".join(f"n{i},{1 + i % 7}\n" for i in range(20))
CSVS: dict[str, str] = {
    "empty": "", "no header": "n0,5\nn1,6\n", "one column": "name\nn0\n",
    "decimal comma": SAMPLES.replace("n3,4", "n3,4,5"), "text": SAMPLES.replace("n3,4", "n3,fast"),
    "negative": SAMPLES.replace("n3,4", "n3,-4"), "nan": SAMPLES.replace("n3,4", "n3,nan"),
    "twice": SAMPLES + "n3,9\n", "unknown": SAMPLES + "who,9\n", "zero": SAMPLES.replace("n3,4", "n3,0"),
    "semicolons": SAMPLES.replace(",", ";"), "two": "name,latency_ms\nn0,1\nn1,2\n",
    "hole": SAMPLES.replace("n3,4", "n3,"), "thousands": SAMPLES.replace("n3,4", 'n3,"1,000"'),
    "unit": SAMPLES.replace("latency_ms", "seconds"), "tabs": SAMPLES.replace(",", "\t"),
    "spaces": SAMPLES.replace("n3,4", "n3, 4 ms"), "quote": SAMPLES + '"n9,3\n',
}  # fmt: skip


def tables(rng: np.random.Generator) -> Iterator[Case]:
    """Tables and samples that no predictor can learn from."""
    words = ("predict", "fit", "--tables", "t.npz", "--device-timings", "s.csv", "--name", "x", "--out", "p.npz", "-q")

    def both(table: bytes, samples: bytes) -> Callable[[Path], None]:
        def fill(folder: Path) -> None:
            put(folder / "t.npz", table)
            put(folder / "s.csv", samples)

        return fill

    for name, changes in TABLES.items():
        yield Case(f"table: {name}", words, both(_table(**changes), SAMPLES.encode()))
    for name, content in CSVS.items():
        codes = FINE if name in ("tabs", "semicolons", "hole") else BAD  # a hole is a network not timed yet
        yield Case(f"samples: {name}", words, both(_table(), content.encode()), codes)
    whole = _table()
    for cut in sorted(rng.integers(1, len(whole), 3).tolist()):
        yield Case(f"table cut at {cut}", words, both(whole[:cut], SAMPLES.encode()))
    yield Case("table of words", words, both(b"no table", SAMPLES.encode()))
    yield Case("samples of noise", words, both(whole, rng.bytes(80)))
    yield Case("no table", words, text("s.csv", SAMPLES))
    yield Case("no samples", words, lambda f: put(f / "t.npz", whole))
    yield Case("a predictor of words", ("predict", "run", "p.npz", "net.py:build", "-q"), text("p.npz", "none"))
    yield Case("no predictor", ("predict", "run", "nobody", "net.py:build", "-q"))
    for n in ("0", "-3", "x"):
        yield Case(
            f"measure --n {n}",
            (
                "predict",
                "measure",
                "net.py:build",
                "--n",
                n,
                "--input-shape",
                "1,8,8",
                "--device",
                "null",
                "--out",
                "o.npz",
                "-q",
            ),
        )
    yield Case(
        "measure to .txt",
        ("predict", "measure", "net.py:build", "--input-shape", "1,8,8", "--device", "null", "--out", "o.txt", "-q"),
    )


# Run directories and ONNX files


def runs(rng: np.random.Generator) -> Iterator[Case]:
    """Directories that are no runs."""
    verbs = (("resume", "r"), ("report", "r"), ("compare", "r", "r"), ("export", "r"), ("export", "r", "--to", "doc"))
    for verb in verbs:
        yield Case(f"{verb[0]} of nothing", (*verb, "-q"))
        yield Case(f"{verb[0]} of an empty folder", (*verb, "-q"), lambda f: (f / "r").mkdir())
        yield Case(f"{verb[0]} of a file", (*verb, "-q"), text("r", "x"))
        yield Case(f"{verb[0]} of words", (*verb, "-q"), text("r/run.db", "no database at all"))
        yield Case(f"{verb[0]} of an empty database", (*verb, "-q"), text("r/run.db", ""))
    yield Case(
        "predict check of nothing", ("predict", "check", "r", "--timings", "s.csv", "-q"), text("s.csv", SAMPLES)
    )
    yield Case("doctor of nobody", ("doctor", "--device", "foo", "-q"))
    yield Case("init on a folder", ("init", "d", "-q"), lambda f: (f / "d").mkdir())
    yield Case("zoo train -1", ("zoo", "train", "lenet5", "--epochs", "-1", "-q"))
    yield Case("zoo train nobody", ("zoo", "train", "nobody", "-q"))


def onnx_files(rng: np.random.Generator) -> Iterator[Case]:
    """Files that are called .onnx."""
    for verb in ("profile", "check"):
        words = (verb, "m.onnx", "--device", "null", "-q", *(SLOW_MAX if verb == "check" else ()))
        yield Case(f"{verb} of words", words, text("m.onnx", "no model"))
        yield Case(f"{verb} of nothing", words, text("m.onnx", ""))
        yield Case(f"{verb} of noise", words, lambda f: put(f / "m.onnx", rng.bytes(200)))
        yield Case(f"{verb} of json", words, text("m.onnx", json.dumps({"ir_version": 8})))
        yield Case(f"{verb} of a folder", words, lambda f: (f / "m.onnx").mkdir())
