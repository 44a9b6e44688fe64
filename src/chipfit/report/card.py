"""What goes with the shipped file: a model card in Markdown, and a program that runs the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from string import Template

from chipfit.core.edits import Precision
from chipfit.core.metric import ACCURACY, PSNR, Metric
from chipfit.core.ports import Ports
from chipfit.core.types import Measurement, Plain
from chipfit.core.words import number_of
from chipfit.data.depth import Depth
from chipfit.report.choose import budget_of, headline, reference_row, versions
from chipfit.report.hardware import words as hardware_words
from chipfit.report.method import doubts
from chipfit.report.reader import RUN_APART, reader, template
from chipfit.report.row import Row, find
from chipfit.report.tables import between, rounded, share_lines
from chipfit.report.view import DatasetFact, RunView, TaskFact
from chipfit.space.edits import from_plain, named
from chipfit.space.edits.precision import PRECISION
from chipfit.space.edits.swap import SWAP

Getter = Callable[[Row], Measurement | None]
Line = tuple[str, Getter, float, str]
"""(what, where it is found, scale, digits) of a line of the card's table."""
COSTS: tuple[Line, ...] = (
    ("latency, ms", lambda r: r.latency, 1, ".4g"),
    ("latency as predicted, ms", lambda r: r.predicted, 1, ".4g"),
    ("file, MB", lambda r: find(r.measurements, "size_mb"), 1, ".3g"),
    ("MACs, millions", lambda r: find(r.measurements, "macs"), 1e-6, ".4g"),
    ("parameters, thousands", lambda r: find(r.measurements, "params"), 1e-3, ".4g"),
)


def lines_for(judged: Metric) -> tuple[Line, ...]:
    """The lines of the card's table, quality first."""
    scale, digits = judged.scale, judged.digits
    return (
        (f"test {judged.title}", lambda r: r.test, scale, digits),
        (f"validation {judged.title}", lambda r: r.quality, scale, digits),
        *COSTS,
    )


def model_card(run: RunView, row: Row | None = None) -> str:
    """The card of a final model (the report's headline unless another row is given), beside the untouched reference."""
    final = row or headline(run)
    if final is None:
        return "# Model card\n\nThis run has no final model yet.\n"
    base = reference_row(run, final)
    before = versions(run, base) or (() if base is None else (base,))
    parts = (
        f"# Model card: {text(final.title)}\n",
        _table(final, before),
        _section("Budget", _budget(run, final)),
        _section("Input", _input(run)),
        _section("What was changed", _changed(final)),
        _section("Hardware", _hardware(run, final)),
        _section("What could not be touched", (f"{text(m)}, {code(op)}: {text(why)}" for m, op, why in run.untouched)),
        _section("Kept in float", (f"{code(site)}: {text(why)}" for site, why in run.kept_fp32)),
        _section("Data", _data(run)),
        _section("Device and protocol", _device(run, final)),
        _section("Made with", _made_with(run)),
        _section("Licences", (f"{text(what)}: {text(licence)}" for what, licence in run.licences.items())),
        _section("Mind", map(text, doubts(run))),
    )
    return "\n".join(part for part in parts if part)


def text(words: str) -> str:
    """Words as Markdown shows them, whatever they hold: one line, no markup and no HTML."""
    line = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~#!]|(?<!\w)_|_(?!\w))", r"\\\1", line)


def code(words: str) -> str:
    """Words in a code span; the marks that would end it become others."""
    return f"`{' '.join(words.split()).replace('`', chr(0x2018))}`"


def _section(title: str, lines: Iterable[str]) -> str:
    listed = "".join(f"- {' '.join(line.split())}\n" for line in lines if line)
    return f"## {title}\n\n{listed}" if listed else ""


def _table(final: Row, before: Sequence[Row]) -> str:
    columns: tuple[Row | None, ...] = (*(before or (None,)), final)
    lines = []
    for what, get, scale, digits in lines_for(final.judged):
        found = [None if r is None else get(r) for r in columns]
        if any(m is not None for m in found):
            lines.append(f"| {what} | {' | '.join(_number(m, scale, digits) for m in found)} |\n")
    heads = [f"before: {'–' if r is None else text(r.title)}" for r in columns[:-1]]
    head = f"| | {' | '.join(heads)} | after: {text(final.title)} |\n|{'---|' * (len(heads) + 2)}\n"
    note = "\n± is one standard error. The word behind a number says where it comes from.\n"
    return "## Before and after\n\n" + head + "".join(lines) + note


def _budget(run: RunView, final: Row) -> list[str]:
    budget = budget_of(run, final)
    if budget is None:
        return []
    steps = final.steps
    return [
        text(budget.verdict(final)),
        text(run.floor.verdict(final)) if run.floor else "",
        *map(text, share_lines(run, budget)),
        f"the best measured file within it: {text(final.origin)}" if final.origin else "",
        f"trained for {steps[0]} of {steps[1]} steps" if steps is not None else "",
    ]


def _number(m: Measurement | None, scale: float, digits: str) -> str:
    if m is None:
        return "–"
    if m.interval is not None:
        return f"{m.value * scale:{digits}} ({m.provenance}, {between(m, scale, digits).strip('()')})"
    value, error = rounded(m, scale, digits)
    return f"{value}{f' ± {error}' if error else ''} ({m.provenance})"


def _input(run: RunView) -> list[str]:
    d = run.dataset
    names = "" if isinstance(d.classes, int) else ": " + ", ".join(map(text, d.classes))
    count = d.classes if isinstance(d.classes, int) else len(d.classes)
    scaled = "pictures are scaled to 0..1" if d.pixels else "inputs are taken as the data have them, not scaled"
    picture, plain = len(d.input_shape) == 3 and d.pixels, d.tokens or d.inputs
    return [
        _shape(d),
        f"{scaled}, then normalised with mean {list(d.mean)} and std {list(d.std)}" if d.mean and not plain else "",
        "pictures of another size are resized (bilinear) by predict.py" if picture else "",
        f"output: {answer}{names}" if (answer := _output(run.task, count)) else "",
        f"judged by {_judged(run.task.metric)}" if run.task.metric != ACCURACY else "",
    ]


def _shape(d: DatasetFact) -> str:
    """What one input is, or each of several."""
    if d.inputs:
        return f"{len(d.inputs)} inputs: {', '.join(map(text, d.inputs))}"
    if not d.input_shape:
        return ""
    form = {3: " (channels, height, width)", 1: " (features)"}.get(len(d.input_shape), "")
    of, kind = (" (tokens)", "int64") if d.tokens else (form, "float32")
    return f"shape {' × '.join(map(str, d.input_shape))}{of}, {kind}"


def _judged(metric: Metric) -> str:
    """A metric's name and what it is."""
    peak = f", peak {metric.peak:.4g}" if metric.name == PSNR.name else ""
    return f"{metric.name}: {text(metric.words)}{peak}"


def _output(task: TaskFact, count: int) -> str:
    """What a network answers with, by its task."""
    one, many = ("probability", "probabilities") if task.probabilities else ("logit", "logits")
    match task.name:
        case "segmentation" | "tokens":
            return f"one {one} for each of {count} classes at each position" if count else f"{many} at each position"
        case "multi-label":
            return f"one {one} for each of {count} yes-or-no labels" if count else f"{many} of yes-or-no labels"
        case "classification":
            return f"one {one} for each of {count} classes" if count else ""
        case _:
            return "numbers, in the unit of the targets"


def _changed(final: Row) -> list[str]:
    """How many edits there are of each kind, and the formulas of layers that programs compute."""
    rows = list(_rows(final.edits))
    return [*_numbers(final, rows), *_formulas(rows)]


def _numbers(final: Row, rows: Sequence[Sequence[Plain]]) -> Iterator[str]:
    """How many edits there are of each kind; of precisions, how many sites are in int8 where the row knows it."""
    counts = {kind: str(n) for kind, n in Counter(str(row[0]) for row in rows).items()}
    words = {kind: _counted(kind) for kind in (*counts, PRECISION.name)}
    if any(map(_by_itself, rows)):
        words[PRECISION.name] = "operators in int8"
    elif final.sites is not None and final.sites[0]:
        counts[PRECISION.name] = f"{final.sites[0]} of {final.sites[1]}"
    for kind, n in counts.items():
        yield f"{text(words[kind])}: {n}"


def _formulas(rows: Sequence[Sequence[Plain]]) -> Iterator[str]:
    """What computes each layer that a program does."""
    for row in rows:
        if row[0] == SWAP.name and len(row) > 2:
            yield f"{code(str(row[1]))} is computed by {code(str(row[2]))}"


def _rows(edits: Plain) -> Iterator[Sequence[Plain]]:
    """The rows [kind, name, ...] of stored edits, whatever else stands among them."""
    for row in edits if isinstance(edits, Sequence) and not isinstance(edits, str) else ():
        if isinstance(row, Sequence) and not isinstance(row, str) and row:
            yield row


def _counted(kind: str) -> str:
    """What edits of a kind are counted as; one that is not known here has its name."""
    known = named(kind)
    return kind if known is None else known.changed


def _by_itself(row: Sequence[Plain]) -> bool:
    """True for an operator that is in int8 by itself: of its site others may not be."""
    if row[0] != PRECISION.name:
        return False
    (edit,) = from_plain([row])
    return isinstance(edit, Precision) and edit.alone


def _hardware(run: RunView, final: Row) -> list[str]:
    """The accelerator that the file is for."""
    design = run.hardware.files.get(final.file)
    return [] if design is None else [text(line) for line in hardware_words(design)]


def _data(run: RunView) -> list[str]:
    d, openings = run.dataset, "; ".join(text(why) for _, why in run.test_reads)
    return [
        f"{text(d.name)}, digest {code(d.digest)}, licence {text(d.licence)}" if d.name else "",
        ", ".join(f"{text(part)} {n}" for part, n in d.sizes.items()),
        *map(text, d.notes),
        f"the test split was opened {number_of(len(run.test_reads), 'time')}: {openings}" if openings else "",
    ]


def _device(run: RunView, final: Row) -> list[str]:
    d, m = run.device, final.latency
    return [
        f"{text(d.name)}, fingerprint {code(d.fingerprint)}, runtime {text(d.runtime or 'unknown')}, {', '.join(d.isa)}"
        if d
        else "",
        f"latency {m.provenance} on {code(m.where)}, protocol {text(m.protocol or 'unknown')}{_blocks(m)}" if m else "",
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
    kind = np.int64 if session.get_inputs()[0].type == "tensor(int64)" else np.float32
    return lambda x: session.run(None, {name: x[None].astype(kind)})[0][0]
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


CLASSES_TOLD = """        best = np.argsort(-shares, kind="stable")[: options.top]
        words = (f"{CLASSES[i] if CLASSES else i} {100 * shares[i]:.1f}%" for i in best)
        print(f"{row}: " + ", ".join(words))"""
LABELS_TOLD = """        told = np.flatnonzero(shares > 0.5)[:50]
        words = (f"{CLASSES[i] if CLASSES else i} {100 * shares[i]:.1f}%" for i in told)
        print(f"{row}: " + (", ".join(words) or "none"))"""
OF_LOGITS = {
    "classification": """        logits = run(x).astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
""",
    "multi-label": """        logits = run(x).astype(np.float64).ravel()
        shares = 1 / (1 + np.exp(-logits))
""",
}
AS_THEY_ARE = """        shares = run(x).astype(np.float64).ravel()
"""
"""What predict.py makes of answers: of logits by task, of probabilities nothing."""

NUMBERS_TOLD = """        print(f"{row}: {np.array2string(run(x), precision=5, threshold=50)}")"""
TOP = """    parser.add_argument("--top", type=int, default=3, help="classes to print (3)")\n"""
TOLD = {
    "classification": ("the likeliest classes", TOP, CLASSES_TOLD),
    "multi-label": ("the labels that are likelier than not", "", LABELS_TOLD),
}
"""Task -> what predict.py prints, an option that it has for that, and how; other tasks have their answers printed."""


def predict_source(
    format: str,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] = (),
    model_file: str = "model.onnx",
    pixels: bool = True,
    task: str = "classification",
    tokens: bool = False,
    probabilities: bool = False,
    ports: Ports = (),
    depth: Depth | None = None,
) -> str:
    """The text of predict.py: runs a file that lies beside it on pictures, a .npy array or a .npz file of several.

    It needs numpy, the runtime and, for pictures, Pillow; nothing of chipfit.

    Args:
        format: of the file, one of `PREDICTED_WITH`.
        input_shape: (C, H, W), or (features,), of one input.
        mean: one value a channel, taken off (of bytes after scaling to 0..1).
        std: one value a channel, divided by.
        classes: names of the outputs; numbers where there are none.
        model_file: name of the file in the folder of predict.py.
        pixels: inputs are bytes, scaled to 0..1 first; else floats as the data have them, and no pictures are read.
        task: what the model is for, which says what is printed.
        tokens: inputs are numbers of tokens.
        probabilities: the model answers with them, not with logits.
        ports: the inputs of a model that takes several, each by its name.
        depth: how pictures of more than 8 bits a value became 8 bits in training; None where there were none.
    """
    reads = reader(input_shape, pixels=pixels, tokens=tokens, ports=ports, depth=depth)
    package, source = PREDICTED_WITH[format]
    imported, _, function = source.partition("\n")
    shares = "" if task not in OF_LOGITS else AS_THEY_ARE if probabilities else OF_LOGITS[task]
    printed, option, told = TOLD.get(task, ("its answers", "", NUMBERS_TOLD))
    return Template(template("predict")).substitute(
        takes=reads.takes,
        usage="\n".join(f"    python predict.py {line}" for line in reads.usage),
        needs=reads.needs,
        constants="\n".join(reads.constants),
        read=reads.source.strip(),
        printed=printed,
        option=option,
        told=shares + told,
        scaled="after scaling to 0..1" if pixels else "of the inputs as they are",
        package=package,
        imported=imported,
        runner=(RUN_APART if ports and format == "onnx" else function).strip(),
        mean=repr(tuple(float(v) for v in mean)),
        std=repr(tuple(float(v) for v in std)),
        classes=repr(tuple(str(c) for c in classes)),
        model_file=repr(model_file),
    )
