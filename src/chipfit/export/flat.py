"""The tensors and operators of one TensorFlow Lite model in the making, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from chipfit.export.qdq import Grid

VERSION: Final = 3
"""Of the schema."""

INT8_VERSIONS: Final[Mapping[str, int]] = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 5,  # from 5 on the weights may have a scale for each row
}
"""Versions of operators on int8 tensors; the others that know int8 do so from version 2 on."""

FLOAT_VERSIONS: Final[Mapping[str, int]] = {"DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2}
"""Versions with dilation, and with outputs of more than two axes."""

SINCE_1: Final = frozenset({"QUANTIZE", "RESHAPE", "HARD_SWISH", "GELU"})
"""Operators whose first version knows int8 as far as they are written in it."""

_TYPES: Final = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
}


@final
class FlatSheet:
    """Tensors by index (their first axis is the batch of 1), operators in running order, constants once by name."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first is empty by definition
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._constants: dict[str, int] = {}
        self._bytes = 0

    def tensor(self, name: str, shape: Sequence[int], grid: Grid | None = None) -> int:
        """Index of a new tensor, int8 where it has a grid."""
        kind = schema.TensorType.INT8 if grid else schema.TensorType.FLOAT32
        steps = ([grid.step], [grid.zero - 128], 0) if grid else None
        return self._tensor(name, shape, kind, 0, steps)

    def constant(
        self, name: str, array: NDArray[Any], scale: NDArray[np.float32] | None = None, axis: int = 0, zero: int = 0
    ) -> int:
        """Index of a constant, written once by name.

        Whole numbers may have a scale for each part along `axis`, all with one zero point.
        """
        if name not in self._constants:
            steps = None if scale is None else (scale, np.full(len(scale), zero), axis)
            buffer = self._buffer(np.ascontiguousarray(array).tobytes())
            self._constants[name] = self._tensor(name, array.shape, _TYPES[array.dtype], buffer, steps)
        return self._constants[name]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self.tensors[tensor].shape)

    def quantised(self, tensor: int) -> bool:
        """True for int8."""
        return bool(self.tensors[tensor].type == schema.TensorType.INT8)

    def operator(self, kind: str, inputs: Sequence[int], output: int, options: str = "", **values: Any) -> int:
        """Adds an operator of one output, with the fields of its options; returns the output."""
        low = self.quantised(output) or self.quantised(inputs[0])
        version = INT8_VERSIONS.get(kind, 1 if kind in SINCE_1 else 2) if low else FLOAT_VERSIONS.get(kind, 1)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault((kind, version), len(self._codes))
        made.inputs, made.outputs = list(inputs), [output]
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for key, value in values.items():
                setattr(made.builtinOptions, key, value)
        self._operators.append(made)
        return output

    def pack(self, given: int, made: int, name: str, metadata: Mapping[str, str]) -> bytes:
        """The file, with one input and one output (called "input" and "logits" in its signature)."""
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = name, self.tensors, self._operators
        graph.inputs, graph.outputs = [given], [made]
        model = schema.ModelT()
        model.version, model.description, model.subgraphs = VERSION, "chipfit", [graph]
        model.operatorCodes = [_code(kind, version) for kind, version in self._codes]
        model.signatureDefs = [_signature(given, made)]
        model.metadata = [self._note(key, value) for key, value in metadata.items()]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(self._bytes + 512 * (len(self.tensors) + len(self._operators)) + 4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int, steps: Any) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), kind, buffer
        if steps is not None:
            scale, zero, axis = steps
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.asarray(scale, np.float32)
            made.quantization.zeroPoint = np.asarray(zero, np.int64)
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def _note(self, key: str, value: str) -> Any:
        note = schema.MetadataT()
        note.name, note.buffer = key, self._buffer(value.encode())
        return note

    def _buffer(self, data: bytes) -> int:
        """Index of a new buffer."""
        made = schema.BufferT()
        made.data = np.frombuffer(data, np.uint8)
        self._buffers.append(made)
        self._bytes += len(data)
        return len(self._buffers) - 1


def _code(kind: str, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, kind)
    made.deprecatedBuiltinCode = min(127, made.builtinCode)  # what readers before 2020 look at
    made.version = version
    return made


def _signature(given: int, made: int) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = [_end("input", given)], [_end("logits", made)]
    return signature


def _end(name: str, tensor: int) -> Any:
    end = schema.TensorMapT()
    end.name, end.tensorIndex = name, tensor
    return end
