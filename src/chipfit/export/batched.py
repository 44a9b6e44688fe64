"""ONNX files that take any number of inputs at once: the batch axis is open, named "n".

Devices time files of one input, which a runtime knows more of; this form is for whoever runs a network on batches.
"""

from __future__ import annotations

from collections.abc import Mapping

from chipfit.core.graph import Network
from chipfit.core.types import Artifact
from chipfit.export import onnx
from chipfit.export.lower import Range

WRITES = onnx.WRITES
"""Kinds that have a form here."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
) -> Artifact:
    """The file; see `export.formats.Writer`."""
    made = onnx.write(network, ranges=ranges, metadata=metadata, reduce_range=reduce_range, batch=None)
    return Artifact("onnx-batch", made.data, network.graph)
