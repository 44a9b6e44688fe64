"""The networks behind a run's files, kept so that they can be written in other formats later."""

from __future__ import annotations

from dataclasses import replace

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network
from chipfit.core.types import Artifact, Plain
from chipfit.evaluate.deployed import Deployer
from chipfit.export.formats import FORMATS, writer
from chipfit.store.store import Store


def keep(store: Store, blob: str, network: Network) -> None:
    """Keeps a network beside the file (`blob`) that was made of it, which another budget may yet choose."""
    store.put_arrays(f"master {blob}", network.weights)
    store.set_fact(f"master {blob}", {"graph": network.graph.to_json()})


def complete(store: Store, blob: str, deployer: Deployer) -> None:
    """Adds what other formats need of a kept network, its int8 ranges and the notes of its file; once is enough."""
    about = store.fact(f"master {blob}")
    if not isinstance(about, dict) or "ranges" in about:
        return
    known = deployer.ranges(network(store, blob)) or {}
    more: dict[str, Plain] = {
        "ranges": {name: list(ends) for name, ends in known.items()},
        "notes": deployer.notes(),
        "reduce_range": deployer.timing.facts.reduce_range,
    }
    store.set_fact(f"master {blob}", {**about, **more})


def known(store: Store, blob: str) -> bool:
    """True where the network behind a file is kept: runs of older versions kept the file alone."""
    return isinstance(store.fact(f"master {blob}"), dict)


def network(store: Store, blob: str) -> Network:
    """The network behind a file.

    Raises:
        BadInput: the run kept none, being of an older version.
    """
    arrays, about = store.arrays(f"master {blob}"), store.fact(f"master {blob}")
    if arrays is None or not isinstance(about, dict):
        raise BadInput(f"run {store.path} kept the file alone, being of an older version; run it again")
    return Network(Graph.from_json(about["graph"]), arrays)


def write(store: Store, blob: str, format: str, *, float32: bool = False) -> Artifact:
    """The network behind a file, in a format; with `float32` every operator in that, as formats without int8 want it.

    Raises:
        BadInput: the run kept none, being of an older version; the format needs a package, or cannot express it.
    """
    about = store.fact(f"master {blob}")
    if not isinstance(about, dict) or "ranges" not in about:
        raise BadInput(f"run {store.path} kept the file alone, which cannot be written as {format}; run it again")
    made = in_float(network(store, blob)) if float32 else network(store, blob)
    ranges = {name: (low, high) for name, (low, high) in about["ranges"].items()}
    return writer(format)(made, ranges=ranges, metadata=about["notes"], reduce_range=about["reduce_range"])


def needs_float(store: Store, blob: str, format: str) -> bool:
    """True where the network behind a file computes in int8 and the format cannot."""
    return 8 not in FORMATS[format].bits and any(o.bits == 8 for o in network(store, blob).graph)


def in_float(made: Network) -> Network:
    """The network with every operator in float32: the weights that its int8 file was rounded from."""
    return Network(Graph(tuple(replace(o, bits=32) for o in made.graph), made.graph.output), made.weights)
