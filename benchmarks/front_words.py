"""Bad arguments, configurations and directories."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import numpy as np
from front_case import BAD, CHECK, FINE, FIT, LIMIT, Case, put, text, without

# Arguments

VALUES: dict[str, tuple[str, ...]] = {
    "--max": (
        "", "latency_ms", "latency_ms=", "latency_ms=-5", "latency_ms=0", "latency_ms=nan", "latency_ms=inf",
        "latency_ms=5,5",
        "latncy_ms=5", "latency_ms=5ms", "latency_ms=1e999", "latency_ms=%", "accuracy=0.9", "=5", "latency_ms==5",
        "latency_ms=٣", "latency_ms=0x10", "size_mb=1_0", "latency_ms=60%%",
    ),
    "--min": (
        "accuracy", "accuracy=nan", "accuracy=-1", "accuracy=200%", "accuracy=1.5", "acc=0.9", "latency_ms=5",
        "accuracy=ninety",
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
        "", "nowhere", "digitz", "data.py", "nofile.py:loaders", "net.py:build", "/dev/null", "http://x/y.zip",
        "\u2603",
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
            words = without(FIT, option)
            if option not in ("--max", "--budgets"):
                words = (*words, *LIMIT)
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
    yield Case("--out of 300 characters", (*without(FIT, "--out"), *LIMIT, "--out", "x" * 300))
    yield Case("--out is a file", (*FIT, *LIMIT), text("run", "mine"))
    yield Case("--out below a file", (*without(FIT, "--out"), *LIMIT, "--out", "net.py/run"))
    yield Case("--out is a folder of others", (*FIT, *LIMIT), text("run/letter.txt", "mine"), codes=FINE)
    yield Case("--out with a zero", (*without(FIT, "--out"), *LIMIT, "--out", "a\0b"))
    yield Case("--out odd but fine", (*without(FIT, "--out"), "--out", "r [ü] 'x'", *LIMIT), codes=(0,), one_line=False)


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
        "predict check of nothing",
        ("predict", "check", "r", "--timings", "s.csv", "-q"),
        text("s.csv", "name,latency_ms\nn0,1\n"),
    )
    yield Case("doctor of nobody", ("doctor", "--device", "foo", "-q"))
    yield Case("init on a folder", ("init", "d", "-q"), lambda f: (f / "d").mkdir())
    yield Case("zoo train -1", ("zoo", "train", "lenet5", "--epochs", "-1", "-q"))
    yield Case("zoo train nobody", ("zoo", "train", "nobody", "-q"))


def onnx_files(rng: np.random.Generator) -> Iterator[Case]:
    """Files that are called .onnx."""
    for verb in ("profile", "check"):
        words = (verb, "m.onnx", "--device", "null", "-q", *(LIMIT if verb == "check" else ()))
        yield Case(f"{verb} of words", words, text("m.onnx", "no model"))
        yield Case(f"{verb} of nothing", words, text("m.onnx", ""))
        yield Case(f"{verb} of noise", words, lambda f: put(f / "m.onnx", rng.bytes(200)))
        yield Case(f"{verb} of json", words, text("m.onnx", json.dumps({"ir_version": 8})))
        yield Case(f"{verb} of a folder", words, lambda f: (f / "m.onnx").mkdir())
