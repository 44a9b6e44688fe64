"""The networks behind a run's files, kept so that they can be written in other formats later."""

from __future__ import annotations

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network
from chipfit.core.types import Artifact
from chipfit.evaluate.deployed import Deployer
from chipfit.export.formats import writer
from chipfit.store.store import Store


def put(store: Store, blob: str, network: Network, deployer: Deployer) -> None:
    """Keeps a network and its int8 ranges beside the file (`blob`) that was made of it."""
    known = deployer.ranges(network) or {}
    store.put_arrays(f"master {blob}", network.weights)
    store.set_fact(
        f"master {blob}",
        {
            "graph": network.graph.to_json(),
            "ranges": {name: list(ends) for name, ends in known.items()},
            "notes": deployer.notes(),
            "reduce_range": deployer.timing.facts.reduce_range,
        },
    )


def write(store: Store, blob: str, format: str) -> Artifact:
    """The network behind a file, in a format.

    Raises:
        BadInput: the run kept none, being of an older version; the format needs a package, or cannot express it.
    """
    arrays, about = store.arrays(f"master {blob}"), store.fact(f"master {blob}")
    if arrays is None or not isinstance(about, dict):
        raise BadInput(f"run {store.path} kept the file alone, which cannot be written as {format}; run it again")
    network = Network(Graph.from_json(about["graph"]), arrays)
    ranges = {name: (low, high) for name, (low, high) in about["ranges"].items()}
    return writer(format)(network, ranges=ranges, metadata=about["notes"], reduce_range=about["reduce_range"])
