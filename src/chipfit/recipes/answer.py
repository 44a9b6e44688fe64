"""Which file answers a budget: the best measured one that holds it, whatever its origin.

What may answer is every file that this run measured on its device: designs and baselines of this pass and of earlier
ones under other budgets, and the models as they came and in int8. So a run that is taken up under another budget never
puts a worse file in the place of one that holds it too. The choice itself is `report.choose.best_under`, by which
reports and the console choose as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from chipfit.core.errors import Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Artifact, Trial
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.screen import Screened
from chipfit.evaluate.timing import Latencies
from chipfit.recipes import master
from chipfit.recipes.designs import Plan
from chipfit.report.budget import Budget
from chipfit.report.choose import best_under
from chipfit.report.row import Row
from chipfit.store.store import Store


@dataclass(frozen=True, slots=True)
class Option:
    """A file that was measured: its row, and itself with its network where the store does not keep them yet."""

    trial: Trial
    artifact: Artifact | None = None
    network: Network | None = None


def options(store: Store, timing: Latencies, rows: Sequence[Screened], filed: Iterable[Option]) -> list[Option]:
    """Every file that may answer a budget, each once: those of this pass, untouched models, those of earlier passes."""
    untouched = [Option(r.trial, r.artifact, r.network) for r in rows if r.trial.error is None]
    places = {t.facts.fingerprint for t, _ in timing.each} | {o.trial.measured("latency_ms").where for o in untouched}
    stored = (t for t in store.trials() if "blob" in t.labels and t.error is None and _measured_at(t, places))
    earlier = [Option(t) for t in stored if master.known(store, t.labels["blob"])]
    earlier.sort(key=lambda o: o.trial.labels["role"] == "final")  # its own row says more of a file than that it won
    found: dict[str, Option] = {}
    for option in (*filed, *untouched, *earlier):
        found.setdefault(option.trial.labels.get("file") or option.trial.labels["blob"], option)
    return list(found.values())


def _measured_at(trial: Trial, places: Collection[str]) -> bool:
    """True where a latency was taken on this device: a run may have been carried to another machine since."""
    return any(m.metric == "latency_ms" and m.where in places for m in trial.measurements)


def answer(plan: Plan, given: Sequence[Option]) -> Option:
    """The option that answers a budget; see `best_under`.

    Raises:
        Infeasible: none holds it; `nearest` has the least of each limited metric.
    """
    rows = [Row.of(o.trial, plan.metric) for o in given]
    best = best_under(Budget(plan.text, plan.limits, rounding=0.0), rows)
    if best is not None:
        return next(o for o, row in zip(given, rows, strict=True) if row is best)
    nearest = {x.metric: min(m.bound for r in rows if (m := r.metric(x.metric)) is not None) for x in plan.limits}
    text = ", ".join(f"{name} {value:.4g}" for name, value in nearest.items())
    raise Infeasible(f"no file holds {plan.text} when measured: the nearest reaches {text}; relax it", nearest)


def why_untrained(plan: Plan, chosen: Option, filed: Iterable[Option]) -> list[str]:
    """What training came to, where the answer to a budget is a design of this pass that was not trained."""
    own = Row.of(chosen.trial, plan.metric)
    if own.role != "candidate" or own.steps is not None or own.quality is None:
        return []
    rows = [Row.of(o.trial, plan.metric) for o in filed if o.trial.labels["budget"] == plan.text]
    budget = Budget(plan.text, plan.limits, rounding=0.0)
    trained = [r.quality.value for r in rows if r.steps and r.steps[0] and r.quality and budget.met(r)]
    if not trained:
        return []
    metric, most = plan.metric, max(trained, key=plan.metric.rank)
    return [
        f"under {plan.text} the answer is a file that was not trained: its {metric.name} on validation is "
        f"{metric.amount(own.quality.value)}, after training it is {metric.amount(most)}"
    ]


def held(plan: Plan, store: Store, timing: Latencies, rows: Sequence[Screened]) -> bool:
    """True where a file that was measured so far holds a budget."""
    known = [Row.of(o.trial, plan.metric) for o in options(store, timing, rows, ())]
    return best_under(Budget(plan.text, plan.limits, rounding=0.0), known) is not None


def final(plan: Plan, option: Option, store: Store, deployer: Deployer) -> tuple[Trial, Artifact]:
    """The row of an option that was chosen for a budget, and its file, which the store keeps from now on."""
    artifact = _read(option.trial, store) if option.artifact is None else kept(option, store)
    master.complete(store, artifact.digest, deployer)
    was = option.trial.labels
    labels = {
        "role": "final", "name": "ours", "budget": plan.text, "model": was["model"], "blob": artifact.digest,
        "file": artifact.digest, "format": artifact.format, "network": option.trial.key,
    }  # fmt: skip
    said = {"origin": origin(option.trial, plan.text), **{n: was.get(n, "") for n in ("steps", "sites")}}
    labels |= {name: text for name, text in said.items() if text}
    measurements = tuple(m for m in option.trial.measurements if m.metric != "latency_ratio")
    return Trial(option.trial.candidate, measurements, None, labels), artifact


def kept(option: Option, store: Store) -> Artifact:
    """The file of this pass, put into the store with its network, so that later budgets and formats find both."""
    artifact, network = option.artifact, option.network
    assert artifact is not None
    assert network is not None
    blob = store.put_blob(artifact.data)
    if not master.known(store, blob):
        master.keep(store, blob, network)
    return artifact


def _read(trial: Trial, store: Store) -> Artifact:
    """A file that the store kept, with the graph that it came from."""
    blob = trial.labels["blob"]
    return Artifact(trial.labels["format"], store.blob(blob), master.network(store, blob).graph)


def origin(trial: Trial, budget: str) -> str:
    """What a chosen file is, where it is not simply the design that was made for this budget.

    >>> from chipfit.core.types import Candidate
    >>> origin(Trial(Candidate({}), labels={"role": "baseline", "name": "vgg6 int8", "model": "vgg6"}), "size_mb <= 1")
    'all int8 of vgg6'
    """
    role, name, model = (trial.labels[key] for key in ("role", "name", "model"))
    made_for = trial.labels.get("budget", "")
    if role == "zoo":
        return f"{name} as it came"
    if not made_for:
        return f"all int8 of {model}"
    searched = name.startswith("ours")
    what = f"from {model}" if searched else f"{name} of {model}"
    what += ", untrained" if searched and name.endswith("untrained") else ""
    if made_for != budget:
        return f"{what}, found for {made_for}"
    return "" if what == f"from {model}" else what
