"""What goes with the shipped file: a model card in Markdown, and a program that runs the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from string import Template

from chipfit.core.types import Measurement
from chipfit.report.choose import headline, reference_row
from chipfit.report.method import doubts
from chipfit.report.tables import between, rounded
from chipfit.report.view import Row, RunView, find

Getter = Callable[[Row], Measurement | None]
LINES: tuple[tuple[str, Getter, float, str], ...] = (
    ("test accuracy, %", lambda r: r.test, 100, ".2f"),
    ("validation accuracy, %", lambda r: r.accuracy, 100, ".2f"),
    ("latency, ms", lambda r: r.latency, 1, ".4g"),
    ("latency as predicted, ms", lambda r: r.predicted, 1, ".4g"),
    ("file, MB", lambda r: find(r.measurements, "size_mb"), 1, ".3g"),
    ("MACs, millions", lambda r: find(r.measurements, "macs"), 1e-6, ".4g"),
    ("parameters, thousands", lambda r: find(r.measurements, "params"), 1e-3, ".4g"),
)
"""(what, where it is found, scale, digits) of each line of the card's table."""


def model_card(run: RunView, row: Row | None = None) -> str:
    """The card of a final model (the report's headline unless another row is given), beside the untouched reference."""
    final = row or headline(run)
    if final is None:
        return "# Model card\n\nThis run has no final model yet.\n"
    base = reference_row(run, final)
    parts = (
        f"# Model card: {final.title}\n",
        _table(final, base),
        _section("Input", _input(run)),
        _section("What was changed", _changed(final)),
        _section("What could not be touched", (f"{m}, `{layer}`: {why}" for m, layer, why in run.untouched)),
        _section("Kept in float", (f"`{site}`: {why}" for site, why in run.kept_fp32)),
        _section("Data", _data(run)),
        _section("Device and protocol", _device(run, final)),
        _section("Made with", _made_with(run)),
        _section("Licences", (f"{what}: {licence}" for what, licence in run.licences.items())),
        _section("Mind", doubts(run)),
    )
    return "\n".join(part for part in parts if part)


def _section(title: str, lines: Iterable[str]) -> str:
    listed = "".join(f"- {' '.join(line.split())}\n" for line in lines if line)
    return f"## {title}\n\n{listed}" if listed else ""


def _table(final: Row, base: Row | None) -> str:
    lines = []
    for what, get, scale, digits in LINES:
        before, after = (None if r is None else get(r) for r in (base, final))
        if before is not None or after is not None:
            lines.append(f"| {what} | {_number(before, scale, digits)} | {_number(after, scale, digits)} |\n")
    head = f"| | before: {_cell(base.title) if base else '–'} | after: {_cell(final.title)} |\n|---|---|---|\n"
    note = "\n± is one standard error. The word behind a number says where it comes from.\n"
    return "## Before and after\n\n" + head + "".join(lines) + note


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _number(m: Measurement | None, scale: float, digits: str) -> str:
    if m is None:
        return "–"
    if m.interval is not None:
        return f"{m.value * scale:{digits}} ({m.provenance}, {between(m, scale, digits).strip('()')})"
    value, error = rounded(m, scale, digits)
    return f"{value}{f' ± {error}' if error else ''} ({m.provenance})"


def _input(run: RunView) -> list[str]:
    d = run.dataset
    names = "" if isinstance(d.classes, int) else ": " + ", ".join(d.classes)
    count = d.classes if isinstance(d.classes, int) else len(d.classes)
    return [
        f"shape {' × '.join(map(str, d.input_shape))} (channels, height, width), float32" if d.input_shape else "",
        f"pictures are scaled to 0..1, then normalised with mean {list(d.mean)} and std {list(d.std)}"
        if d.mean
        else "",
        "pictures of another size are resized (bilinear) by predict.py" if len(d.input_shape) == 3 else "",
        f"output: one logit for each of {count} classes{names}" if count else "",
    ]


def _changed(final: Row) -> list[str]:
    edits = final.edits if isinstance(final.edits, Sequence) and not isinstance(final.edits, str) else []
    kinds = Counter(str(e[0]) for e in edits if isinstance(e, Sequence) and e)
    words = {"skip": "residual blocks dropped", "width": "channel groups narrowed", "precision": "sites in int8"}
    return [f"{words.get(kind, kind)}: {n}" for kind, n in kinds.items()]


def _data(run: RunView) -> list[str]:
    d, openings = run.dataset, "; ".join(why for _, why in run.test_reads)
    return [
        f"{d.name}, digest `{d.digest}`, licence {d.licence}" if d.name else "",
        ", ".join(f"{part} {n}" for part, n in d.sizes.items()),
        *d.notes,
        f"the test split was opened {len(run.test_reads)} time(s): {openings}" if openings else "",
    ]


def _device(run: RunView, final: Row) -> list[str]:
    d, m = run.device, final.latency
    return [
        f"{d.name}, fingerprint `{d.fingerprint}`, runtime {d.runtime or 'unknown'}, {', '.join(d.isa)}" if d else "",
        f"latency {m.provenance} on `{m.where}`, protocol {m.protocol or 'unknown'}{_blocks(m)}" if m else "",
        f"95 % of single runs within {m.details['p95_ms']:.4g} ms" if m and "p95_ms" in m.details else "",
    ]


def _blocks(m: Measurement) -> str:
    return "" if m.provenance == "predicted" else f", {m.n} blocks"


def _made_with(run: RunView) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    computed = f"trained and repaired on {run.accelerator}" if run.accelerator else ""
    return [f"seed {run.seed}" if run.seed is not None else "", computed, versions]


PREDICTED_WITH = {
    "onnx": (
        "onnxruntime",
        """import onnxruntime


def runner():
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x[None]})[0][0]
""",
    ),
    "tflite": (
        "ai-edge-litert",
        """from ai_edge_litert.interpreter import Interpreter


def runner():
    interpreter = Interpreter(model_path=str(MODEL))
    run = interpreter.get_signature_runner()
    return lambda x: run(input=np.ascontiguousarray(np.moveaxis(x, 0, -1)[None]))["logits"][0]
""",
    ),
}
"""Format -> package that runs it, and the import and the function `runner` of predict.py."""


def predict_source(
    format: str,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] = (),
    model_file: str = "model.onnx",
) -> str:
    """The text of predict.py: runs a file that lies beside it on a picture or a .npy array.

    It needs numpy, the runtime and, for pictures, Pillow; nothing of chipfit.

    Args:
        format: of the file, one of `PREDICTED_WITH`.
        input_shape: (C, H, W), or (features,), of one input.
        mean: one value a channel, taken off after scaling to 0..1.
        std: one value a channel, divided by.
        classes: names of the outputs; numbers where there are none.
        model_file: name of the file in the folder of predict.py.
    """
    text = (resources.files("chipfit.report") / "template" / "predict.txt").read_text(encoding="utf-8")
    package, source = PREDICTED_WITH[format]
    imported, _, function = source.partition("\n")
    return Template(text).substitute(
        package=package,
        imported=imported,
        runner=function.strip(),
        input_shape=repr(tuple(int(n) for n in input_shape)),
        mean=repr(tuple(float(v) for v in mean)),
        std=repr(tuple(float(v) for v in std)),
        classes=repr(tuple(str(c) for c in classes)),
        model_file=repr(model_file),
    )
