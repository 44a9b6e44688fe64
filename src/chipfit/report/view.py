"""All that a report says, as data: read from the store, from nowhere else.

**Labels of trials** that are read:

| label    | values |
|----------|--------|
| `role`   | `zoo` (untouched), `baseline`, `stitched`, `candidate`, `final`; trials without one count as `candidate` |
| `model`  | the zoo model that the trial started from |
| `name`   | what a person calls it: "resnet20", "all-int8", "uniform width", "ours" |
| `budget` | the budget it was made for, written as in the fact `budgets`; may be absent |
| `network`| hash of its structure and weights: the key by which the report calls it |
| `file`   | hash of the file that was measured |
| `blob`   | the same, where the store keeps the file |
| `origin` | of a final that was not made for its budget: what it is, such as "all int8 of vgg6" |
| `steps`  | of its training: "770 of 770", done and planned |
| `sites`  | "3 of 4": its sites in int8, and all |

Of trials with the same role, model, name, budget and candidate the last counts: a row that was measured again, or was
given its quality on test, is appended anew.

**Values of candidates**: `choices` {decision: label}; `edits` as `space.edits.to_plain` writes them; both optional.

**Measurements**: `accuracy`, or what else the task is judged by, with `where` "validation" or "test"; `latency_ms`
measured (or simulated, or counted, or predicted with an interval in its details by a device known from a few timings)
and a second one `predicted` from the cost tables; `size_mb`, `macs`, `params`, `peak_memory_mb`, `damage`. Predicted
quality is not read.

**Facts**, each of which may be absent (a run that is not finished has few):

| key          | value |
|--------------|-------|
| `device`     | the fields of `DeviceFacts` |
| `dataset`    | name, digest, sizes {part: n}, input_shape, classes (names, or how many), licence, notes, mean, std |
| `task`       | name, and the fields of its `metric`; of a classification there is none |
| `budgets`    | list of texts "latency_ms <= 0.42", several joined by ", "; relative ones ("60%") are of `reference` |
| `floor`      | the fields of the `Limit` on quality that was asked for, absolute; may be absent |
| `reference`  | the fields of `core.reference.Reference`: what shares are of and the verdict compares with |
| `phases`     | list of [name, seconds] |
| `untouched`  | list of [model, layer, reason] |
| `kept_fp32`  | list of [site, reason] |
| `additive`   | predicted, true: damages of whole candidates (nats); spearman |
| `table`      | predicted, measured: latencies of whole candidates (ms); mape (a share: 0.017), spearman |
| `profile`    | before, after: lists of [operator, ms, bottleneck] |
| `decisions`  | {model: list of [name, kind, list of [label, value]]}: a menu's decisions, the first option as it is |
| `versions`   | {package: version} |
| `licences`   | {what: licence} of models and code that went in |
| `hardware`   | designs of an accelerator (`report.hardware`) |
| `operators`  | slowest operators, and programs that may compute them (`report.operators`) |
| `accelerator` | where training, damage and repair were computed, and how precisely |
| `seed`, `config`, `warnings`, `finished` | a number, a mapping, a list of lines, true |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.reference import Reference
from chipfit.core.task import CLASSIFICATION, Task
from chipfit.core.types import METRICS, DeviceFacts, Limit, Plain, Trial
from chipfit.report.budget import Budget, parse_budget
from chipfit.report.hardware import HardwareFact
from chipfit.report.operators import Operators
from chipfit.report.row import Row, untouched_rows
from chipfit.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DatasetFact:
    """What the run was trained and judged on; `mean` and `std` are the normalisation, a value a channel.

    `pixels` says that inputs are bytes which are scaled to 0..1 first; else they are floats as the data have them.
    `inputs` are those of networks that take several, each as options write it: name=shape.
    """

    name: str = ""
    digest: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    input_shape: tuple[int, ...] = ()
    classes: tuple[str, ...] | int = ()
    licence: str = "unknown"
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    pixels: bool = True
    tokens: bool = False
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskFact:
    """What networks were trained for, and the metric that quality is measured in."""

    name: str = CLASSIFICATION.name
    metric: Metric = ACCURACY
    probabilities: bool = False


@dataclass(frozen=True, slots=True)
class Parity:
    """What was foretold beside what came true, for the same candidates in the same order."""

    predicted: tuple[float, ...]
    true: tuple[float, ...]
    spearman: float | None = None
    mape: float | None = None

    @property
    def nine_in_ten(self) -> float:
        """The relative error that nine of ten predictions keep within: a mean hides how wide the ends are."""
        errors = sorted(abs(p / t - 1) for p, t in zip(self.predicted, self.true, strict=True) if t)
        return errors[max(0, -(-9 * len(errors) // 10) - 1)] if errors else 0.0


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """One decision of a menu and its options, of which the first changes nothing: label, and a value in its share.

    What an option's value is less than the first one's is how much it takes away.
    """

    name: str
    kind: str
    options: tuple[tuple[str, float], ...]


OpBar = tuple[str, float, str]
"""(operator, ms, bottleneck)."""


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything the report of one run may say."""

    path: Path
    rows: tuple[Row, ...] = ()
    finished: bool = False
    device: DeviceFacts | None = None
    dataset: DatasetFact = field(default_factory=DatasetFact)
    task: TaskFact = field(default_factory=TaskFact)
    budgets: tuple[Budget, ...] = ()
    floor: Budget | None = None
    reference: Reference | None = None
    phases: tuple[tuple[str, float], ...] = ()
    untouched: tuple[tuple[str, str, str], ...] = ()
    kept_fp32: tuple[tuple[str, str], ...] = ()
    damage: Parity | None = None
    latency: Parity | None = None
    before: tuple[OpBar, ...] = ()
    after: tuple[OpBar, ...] = ()
    decisions: Mapping[str, tuple[DecisionFact, ...]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    hardware: HardwareFact = field(default_factory=HardwareFact)
    operators: Mapping[str, Operators] = field(default_factory=dict)
    accelerator: str = ""
    seed: int | None = None
    config: Mapping[str, Plain] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    test_reads: tuple[tuple[float, str], ...] = ()

    def of_role(self, *roles: str) -> tuple[Row, ...]:
        """Rows of these roles that did not fail, in order."""
        return tuple(r for r in self.rows if r.role in roles and r.error is None)

    @property
    def prediction_words(self) -> str:
        """How far predicted latencies were off: of whole networks left out, and of the files that this run measured.

        Files say more: networks left out are random ones, files those that a search or a rule picked. Empty where
        nothing is known.
        """
        said = []
        if self.latency is not None and self.latency.mape is not None:
            most = 100 * self.latency.nine_in_ten
            said.append(f"a mean absolute error of {100 * self.latency.mape:.1f} % (nine in ten within {most:.1f} %)")
        errors = [abs(e) for r in self.rows if (e := r.prediction_error) is not None]
        if errors:
            files = "one file" if len(errors) == 1 else f"{len(errors)} files"
            said.append(f"{files} of this run with at most {100 * max(errors):.1f} %")
        return ", ".join(said)

    @property
    def failed(self) -> tuple[Row, ...]:
        """Rows with an error."""
        return tuple(r for r in self.rows if r.error is not None)


def _read(facts: Mapping[str, Plain], key: str, kind: type[T], default: T) -> T:
    """A fact as a type. A fact of another shape is a mistake of the recipe that wrote it, and raises as such."""
    return default if facts.get(key) is None else TypeAdapter(kind).validate_python(facts[key])


def _parity(facts: Mapping[str, Plain], key: str, true: str) -> Parity | None:
    fact = _read(facts, key, dict[str, Any], {})
    return TypeAdapter(Parity).validate_python({**fact, "true": fact[true]}) if fact else None


def _floor(facts: Mapping[str, Plain]) -> Budget | None:
    """The limit on quality, which is held like a budget's."""
    fact = _read(facts, "floor", dict[str, Any], {})
    if not fact:
        return None
    limit = Limit(**fact)
    return Budget(str(limit), (limit,))


def _with_values(reference: Reference | None, rows: Sequence[Row]) -> Reference | None:
    """The reference with all its numbers: as its row has them, where the fact itself does not say."""
    if reference is None:
        return None
    row = next((r for r in untouched_rows(rows) if r.name == reference.name), None)
    names = dict.fromkeys((*METRICS, reference.metric))
    values = {name: m.value for name in names if row is not None and (m := row.metric(name)) is not None}
    quality = values.get(reference.metric) if reference.quality is None else reference.quality
    latency_ms = values.get("latency_ms") if reference.latency_ms is None else reference.latency_ms
    return replace(reference, values={**values, **reference.values}, quality=quality, latency_ms=latency_ms)


def view(store: Store) -> RunView:
    """Everything the report of a run may say; see the top of this file for what is read.

    Raises:
        BadInput: a budget that cannot be read.
        pydantic.ValidationError: a fact of another shape than stated above.
    """
    facts = store.facts()
    task = _task(facts)
    rows = _rows(store.trials(), task.metric)
    stored = _read(facts, "reference", dict[str, Any], {})
    reference = _with_values(Reference.read(stored) if stored else None, rows)
    numbers = {} if reference is None else {n: v for n in METRICS if (v := reference.number(n)) is not None}
    profile = _read(facts, "profile", dict[str, tuple[OpBar, ...]], {})
    return RunView(
        path=store.path,
        rows=rows,
        finished=store.finished,
        device=_read(facts, "device", DeviceFacts | None, None),  # type: ignore[arg-type]
        dataset=_read(facts, "dataset", DatasetFact, DatasetFact()),
        task=task,
        budgets=tuple(parse_budget(text, numbers) for text in _read(facts, "budgets", list[str], [])),
        floor=_floor(facts),
        reference=reference,
        phases=_read(facts, "phases", tuple[tuple[str, float], ...], ()),
        untouched=_read(facts, "untouched", tuple[tuple[str, str, str], ...], ()),
        kept_fp32=_read(facts, "kept_fp32", tuple[tuple[str, str], ...], ()),
        damage=_parity(facts, "additive", "true"),
        latency=_parity(facts, "table", "measured"),
        before=profile.get("before", ()),
        after=profile.get("after", ()),
        decisions=_decisions(facts),
        versions=_read(facts, "versions", dict[str, str], {}),
        licences=_read(facts, "licences", dict[str, str], {}),
        hardware=_read(facts, "hardware", HardwareFact, HardwareFact()),
        operators=_read(facts, "operators", dict[str, Operators], {}),
        accelerator=_read(facts, "accelerator", str, ""),
        seed=_read(facts, "seed", int | None, None),  # type: ignore[arg-type]
        config=_read(facts, "config", dict[str, Any], {}),
        warnings=_read(facts, "warnings", tuple[str, ...], ()),
        test_reads=tuple(store.test_reads()),
    )


def _task(facts: Mapping[str, Plain]) -> TaskFact:
    """What the run says of its task; classification where it says nothing, as runs did when there was no other."""
    fact = _read(facts, "task", dict[str, Any], {})
    if not fact:
        return TaskFact()
    return TaskFact(str(fact["name"]), Metric(**fact["metric"]), bool(fact.get("probabilities", False)))


def task_fact(task: Task) -> dict[str, Plain] | None:
    """The fact `task`; None of a classification by logits."""
    if task.metric == ACCURACY and task.name == CLASSIFICATION.name and not task.probabilities:
        return None
    m = task.metric
    metric: Plain = {
        "name": m.name,
        "larger": m.larger,
        "words": m.words,
        "share": m.share,
        "unit": m.unit,
        "peak": m.peak,
    }
    return {"name": task.name, "metric": metric, **({"probabilities": True} if task.probabilities else {})}


def _rows(trials: Iterable[Trial], judged: Metric) -> tuple[Row, ...]:
    """One row for each trial, the last of those that are alike.

    What was once chosen for a budget, and then gave way to another file, is a candidate like any other.
    """
    said = [Row.of(t, judged) for t in trials]
    chosen = {r.budget: r.key for r in said if r.role == "final" and r.error is None}

    def current(r: Row) -> bool:
        return r.role != "final" or r.error is not None or not r.budget or chosen[r.budget] == r.key

    now = [r if current(r) else replace(r, role="candidate") for r in said]
    return tuple({(r.role, r.model, r.name, r.budget, r.key): r for r in now}.values())


def _decisions(facts: Mapping[str, Plain]) -> dict[str, tuple[DecisionFact, ...]]:
    rows = _read(facts, "decisions", dict[str, list[tuple[str, str, tuple[tuple[str, float], ...]]]], {})
    return {model: tuple(DecisionFact(*row) for row in decisions) for model, decisions in rows.items()}
