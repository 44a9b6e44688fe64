"""Published picture networks as graphs without weights: what cost models are compared on, and priced alone.

Operators come in the order in which the original modules register their layers. Sources: AlexNet (Krizhevsky 2014), VGG
(Simonyan 2015), ResNet (He 2015; its stride in the 3x3 convolution of a bottleneck), WideResNet (Zagoruyko 2016),
SqueezeNet (Iandola 2016), DenseNet (Huang 2016), MobileNetV2 (Sandler 2018), MnasNet (Tan 2018; of width 0.5 the older
form, whose first two layers are not scaled).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.graph import Attr, Graph, Op, op

SMALL = 64
"""Pictures below this size get a 3x3 stem without stride in ResNets and DenseNets."""


def published(name: str, size: int = 224, classes: int = 1000) -> Graph:
    """The network of this name for RGB pictures of `size` x `size`.

    >>> published("resnet18").total_macs
    1814073344

    Raises:
        BadInput: no such network (proposes the closest), or pictures that are too small for it.
    """
    if name not in PUBLISHED:
        raise BadInput(f"network {name!r} is unknown{did_you_mean(name, PUBLISHED)}; known: {', '.join(PUBLISHED)}")
    sheet = Sheet(size)
    return sheet.graph(PUBLISHED[name](sheet, classes))


class Sheet:
    """A graph in the making: each method adds operators behind the named one and returns the name of the last."""

    def __init__(self, size: int, channels: int = 3) -> None:
        self.ops: dict[str, Op] = {"input": op("input", "input", (), (channels, size, size))}

    def graph(self, output: str) -> Graph:
        """What was added, up to the operator `output`."""
        return Graph(tuple(self.ops.values()), output)

    def put(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], **attrs: Attr) -> str:
        """One operator, named after its kind and its place."""
        if min(shape) < 1:
            size = self.shape("input")[1]
            raise BadInput(
                f"pictures of {size}x{size} are too small: a map of {shape[1]}x{shape[1]} is left; give larger"
            )
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in ("conv", "linear", "batch_norm") else ""
        self.ops[name] = Op(name, kind, tuple(inputs), shape, tuple(sorted(attrs.items())), weights)
        return name

    def shape(self, x: str) -> tuple[int, ...]:
        """Of an operator's output."""
        return self.ops[x].shape

    def conv(self, x: str, outputs: int, kernel: int, stride: int = 1, padding: int | None = None, **of: int) -> str:
        """A square convolution; padded by half its kernel unless told; `of`: groups, bias."""
        pad = kernel // 2 if padding is None else padding
        size = (self.shape(x)[1] + 2 * pad - kernel) // stride + 1
        return self.put(
            "conv",
            [x],
            (outputs, size, size),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(pad, pad),
            dilation=(1, 1),
            groups=of.get("groups", 1),
            bias=of.get("bias", 0),
        )

    def unit(self, x: str, outputs: int, kernel: int, stride: int = 1, act: str = "relu", **of: int) -> str:
        """Convolution, batch norm and, unless `act` is "", activation."""
        x = self.norm(self.conv(x, outputs, kernel, stride, **of))
        return self.act(x, act) if act else x

    def norm(self, x: str) -> str:
        """Batch norm."""
        return self.put("batch_norm", [x], self.shape(x), eps=1e-5)

    def act(self, x: str, kind: str = "relu") -> str:
        """An activation."""
        return self.put(kind, [x], self.shape(x))

    def add(self, a: str, b: str) -> str:
        """A sum of two maps."""
        return self.put("add", [a, b], self.shape(a))

    def concat(self, *parts: str) -> str:
        """Maps one behind the other along their channels."""
        channels = sum(self.shape(x)[0] for x in parts)
        return self.put("concat", parts, (channels, *self.shape(parts[0])[1:]), axis=0)

    def pool(self, x: str, kernel: int, stride: int, padding: int = 0, kind: str = "max_pool", ceil: int = 0) -> str:
        """A pool over squares."""
        channels, rows, _ = self.shape(x)
        span = rows + 2 * padding - kernel
        size = (-(-span // stride) if ceil else span // stride) + 1
        window: dict[str, Attr] = {
            "kernel": (kernel, kernel),
            "stride": (stride, stride),
            "padding": (padding, padding),
        }
        if kind == "avg_pool":
            window["count_include_pad"] = 1
        return self.put(kind, [x], (channels, size, size), ceil=ceil, **window)

    def mean(self, x: str) -> str:
        """The mean of each channel, flat."""
        return self.put("global_pool", [x], self.shape(x)[:1], keep=0)

    def dense(self, x: str, outputs: int) -> str:
        """A dense layer with bias, on a flat input."""
        return self.put("linear", [x], (outputs,), bias=1)

    def dense_head(self, x: str, classes: int) -> str:
        """Flattened, two dense layers of 4,096 with ReLU, and the classifier: of AlexNet and VGG."""
        channels, rows, columns = self.shape(x)
        x = self.put("flatten", [x], (channels * rows * columns,))
        for _ in range(2):
            x = self.act(self.dense(x, 4096))
        return self.dense(x, classes)


def _alexnet(s: Sheet, classes: int) -> str:
    x = s.act(s.conv("input", 64, 11, 4, padding=2, bias=1))
    x = s.pool(x, 3, 2)
    x = s.act(s.conv(x, 192, 5, bias=1))
    x = s.pool(x, 3, 2)
    for width in (384, 256, 256):
        x = s.act(s.conv(x, width, 3, bias=1))
    return s.dense_head(s.pool(x, 3, 2), classes)


def _vgg(convs: Sequence[int], s: Sheet, classes: int) -> str:
    """`convs`: 3x3 convolutions of each of the five stages."""
    x = "input"
    for width, count in zip((64, 128, 256, 512, 512), convs, strict=True):
        for _ in range(count):
            x = s.act(s.conv(x, width, 3, bias=1))
        x = s.pool(x, 2, 2)
    return s.dense_head(x, classes)


def _stem(s: Sheet, width: int) -> str:
    """A 7x7 convolution with stride 2, or 3x3 without for small pictures, and a pool that halves."""
    small = s.shape("input")[1] < SMALL
    x = s.unit("input", width, 3) if small else s.unit("input", width, 7, 2)
    return s.pool(x, 3, 2, 1)


def _basic(s: Sheet, x: str, width: int, stride: int) -> str:
    y = s.unit(x, width, 3, stride)
    y = s.unit(y, width, 3, act="")
    return _joined(s, x, y, stride)


def _joined(s: Sheet, x: str, y: str, stride: int) -> str:
    """The sum of a block and its input, which a 1x1 convolution brings to the block's shape where that differs."""
    outputs = s.shape(y)[0]
    if stride > 1 or s.shape(x)[0] != outputs:
        x = s.unit(x, outputs, 1, stride, act="")
    return s.act(s.add(y, x))


def _bottleneck(widening: int, s: Sheet, x: str, width: int, stride: int) -> str:
    inner = width * widening
    y = s.unit(x, inner, 1)
    y = s.unit(y, inner, 3, stride)
    y = s.unit(y, 4 * width, 1, act="")
    return _joined(s, x, y, stride)


def _resnet(block: Callable[[Sheet, str, int, int], str], counts: Sequence[int], s: Sheet, classes: int) -> str:
    x = _stem(s, 64)
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True)):
        for n in range(count):
            x = block(s, x, width, 2 if stage and not n else 1)
    return s.dense(s.mean(x), classes)


def _fire(s: Sheet, x: str, squeezed: int, expanded: int) -> str:
    x = s.act(s.conv(x, squeezed, 1, bias=1))
    small = s.act(s.conv(x, expanded, 1, bias=1))
    large = s.act(s.conv(x, expanded, 3, bias=1))
    return s.concat(small, large)


_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _squeezenet(kernel: int, width: int, pooled: Sequence[int], s: Sheet, classes: int) -> str:
    """`pooled`: numbers of the fire modules that a pool stands before."""
    x = s.act(s.conv("input", width, kernel, 2, padding=0, bias=1))
    for n, (squeezed, expanded) in enumerate(_FIRES):
        if n in pooled:
            x = s.pool(x, 3, 2, ceil=1)
        x = _fire(s, x, squeezed, expanded)
    return s.mean(s.act(s.conv(x, classes, 1, bias=1)))


def _densenet(growth: int, width: int, counts: Sequence[int], s: Sheet, classes: int) -> str:
    x = _stem(s, width)
    for stage, count in enumerate(counts):
        if stage:
            x = s.conv(s.act(s.norm(x)), s.shape(x)[0] // 2, 1)
            x = s.pool(x, 2, 2, kind="avg_pool")
        for _ in range(count):
            y = s.unit(s.act(s.norm(x)), 4 * growth, 1)
            x = s.concat(x, s.conv(y, growth, 3))
    return s.dense(s.mean(s.act(s.norm(x))), classes)


def _inverted(s: Sheet, x: str, outputs: int, kernel: int, stride: int, expansion: int, act: str) -> str:
    """1x1 expansion unless that is 1, depth-wise, 1x1 projection, and a shortcut where the shape is kept."""
    inputs = s.shape(x)[0]
    inner = inputs * expansion
    y = s.unit(x, inner, 1, act=act) if expansion > 1 else x
    y = s.unit(y, inner, kernel, stride, act=act, groups=inner)
    y = s.unit(y, outputs, 1, act="")
    return s.add(y, x) if stride == 1 and inputs == outputs else y


_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, width, blocks, stride) of each stack."""


def _mobilenet_v2(s: Sheet, classes: int) -> str:
    x = s.unit("input", 32, 3, 2, "relu6")
    for expansion, width, count, stride in _MOBILENET_V2:
        for n in range(count):
            x = _inverted(s, x, width, 3, 1 if n else stride, expansion, "relu6")
    return s.dense(s.mean(s.unit(x, 1280, 1, act="relu6")), classes)


_MNASNET = ((3, 2, 3, 3), (5, 2, 3, 3), (5, 2, 6, 3), (3, 1, 6, 2), (5, 2, 6, 4), (3, 1, 6, 1))
"""(kernel, stride, expansion, blocks) of each stack."""


def _mnasnet(widths: Sequence[int], s: Sheet, classes: int) -> str:
    """`widths` of the six stacks."""
    x = s.unit(s.unit("input", 32, 3, 2), 32, 3, groups=32)
    x = s.unit(x, 16, 1, act="")
    for width, (kernel, stride, expansion, count) in zip(widths, _MNASNET, strict=True):
        for n in range(count):
            x = _inverted(s, x, width, kernel, 1 if n else stride, expansion, "relu")
    return s.dense(s.mean(s.unit(x, 1280, 1)), classes)


_narrow, _wide = partial(_bottleneck, 1), partial(_bottleneck, 2)

PUBLISHED: Mapping[str, Callable[[Sheet, int], str]] = {
    "alexnet": _alexnet,
    "vgg11": partial(_vgg, (1, 1, 2, 2, 2)),
    "vgg13": partial(_vgg, (2, 2, 2, 2, 2)),
    "vgg16": partial(_vgg, (2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, (2, 2, 4, 4, 4)),
    "resnet18": partial(_resnet, _basic, (2, 2, 2, 2)),
    "resnet34": partial(_resnet, _basic, (3, 4, 6, 3)),
    "resnet50": partial(_resnet, _narrow, (3, 4, 6, 3)),
    "resnet101": partial(_resnet, _narrow, (3, 4, 23, 3)),
    "resnet152": partial(_resnet, _narrow, (3, 8, 36, 3)),
    "wide_resnet50_2": partial(_resnet, _wide, (3, 4, 6, 3)),
    "wide_resnet101_2": partial(_resnet, _wide, (3, 4, 23, 3)),
    "squeezenet1_0": partial(_squeezenet, 7, 96, (0, 3, 7)),
    "squeezenet1_1": partial(_squeezenet, 3, 64, (0, 2, 4)),
    "densenet121": partial(_densenet, 32, 64, (6, 12, 24, 16)),
    "densenet161": partial(_densenet, 48, 96, (6, 12, 36, 24)),
    "densenet169": partial(_densenet, 32, 64, (6, 12, 32, 32)),
    "densenet201": partial(_densenet, 32, 64, (6, 12, 48, 32)),
    "mobilenet_v2": _mobilenet_v2,
    "mnasnet0_5": partial(_mnasnet, (16, 24, 40, 48, 96, 160)),
    "mnasnet1_0": partial(_mnasnet, (24, 40, 80, 96, 192, 320)),
}
"""Name to what draws it."""
