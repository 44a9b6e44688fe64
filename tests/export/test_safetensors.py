from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from chipfit.core.graph import Graph, Network
from chipfit.export.fold import fold
from chipfit.export.safetensors import write


def test_the_file_is_the_folded_network(network):
    artifact = write(network, metadata={"licence": "MIT", "graph": "another"})
    header = json.loads(artifact.data[8 : 8 + int.from_bytes(artifact.data[:8], "little")])
    folded, arrays = fold(network), load(artifact.data)
    assert artifact.format == "safetensors"
    assert artifact.graph is network.graph
    assert header["__metadata__"]["licence"] == "MIT"
    assert Graph.from_json(header["__metadata__"]["graph"]) == folded.graph
    assert arrays.keys() == folded.weights.keys()
    assert all(np.array_equal(arrays[name], folded.weights[name]) for name in arrays)


def test_int8_is_refused(network):
    last = network.graph.ops[-1]
    ops = (*network.graph.ops[:-1], replace(last, bits=8))
    with pytest.raises(ValueError, match=rf"torch eager has no int8 form of operator '{last.name}' \({last.kind}\)"):
        write(Network(Graph(ops, network.graph.output), network.weights))
