"""Tables and timings that no predictor can learn from."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from front_case import BAD, FINE, Case, put, text

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
        codes = FINE if name in ("other metric", "no devices") else BAD  # they lend their networks, not their numbers
        yield Case(f"table: {name}", words, both(_table(**changes), SAMPLES.encode()), codes)
    for name, content in CSVS.items():
        codes = FINE if name in ("tabs", "semicolons", "hole", "unit") else BAD  # a hole is a network not timed yet
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
