"""Modules of several inputs and several answers: what is taken, what is chosen, what is refused, and how it is said."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chipfit.compress.edit import apply
from chipfit.core.data import Dataset, Split
from chipfit.core.edits import Width
from chipfit.core.errors import BadInput
from chipfit.core.ports import Ends, Port, packed, ports_of, width
from chipfit.data.given import checked
from chipfit.nets.build import build
from chipfit.nets.load import entry_of
from chipfit.nets.presented import values_in
from chipfit.space.groups import channel_groups

IMAGE, IDS, MASK = Port("image", (3, 8, 8)), Port("ids", (5,), True), Port("mask", (5,), True)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def seen(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(torch.relu(self.conv(x)))).mean((2, 3))


class Siamese(Trunk):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head((self.seen(left) - self.seen(right)).abs())


class Captioned(Trunk):
    """A picture, words and which of them count."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8)

    def forward(self, image: Tensor, ids: Tensor, mask: Tensor, scale: Tensor | None = None) -> Tensor:
        assert ids.dtype == torch.int64
        counts = mask.unsqueeze(-1).float()
        text = (self.words(ids) * counts).sum(1) / counts.sum(1)
        return self.head(self.seen(image) + text)


class Masked(nn.Module):
    """Attention with a mask of padding that the input sets."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.qkv, self.out = nn.Embedding(10, 8), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.words(ids)).view(-1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        seen = mask.bool()[:, None, None, :].expand(-1, 1, 5, -1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(y.transpose(1, 2).reshape(-1, 5, 8)[:, 0])


def answers(entry: Any) -> None:
    """The network answers as the module did."""
    with torch.inference_mode():
        got = build(entry.network)(torch.from_numpy(entry.answers.inputs)).numpy()
    assert entry.answers.error(got) < 1e-5


def test_one_shape_is_that_of_each_input_where_no_data_say_another() -> None:
    entry = entry_of("s", "s", Siamese(), (3, 8, 8))
    assert entry.notes == ("each of its inputs left, right taken to be 3x8x8",)
    assert ports_of(entry.network.graph.ops[0]) == (Port("left", (3, 8, 8)), Port("right", (3, 8, 8)))
    answers(entry)
    groups = channel_groups(entry.network.graph).groups
    assert {g.size for g in groups} == {8}
    x = torch.from_numpy(entry.answers.inputs)  # type: ignore[union-attr]
    narrow = build(apply(entry.network, [Width(groups[0].name, (0, 2, 3, 5, 6))]))(x)
    assert narrow.shape == (len(x), 4)


@pytest.mark.parametrize("ports", [(IMAGE, IDS, MASK), (MASK, IMAGE, IDS)])
def test_inputs_go_by_name_and_arrays_keep_the_names_that_the_module_has(ports: tuple[Port, ...]) -> None:
    module = Captioned()
    entry = entry_of("c", "c", module, (width(ports),), ends=Ends(ports))
    answers(entry)
    assert ports_of(entry.network.graph.ops[0]) == ports
    assert set(entry.network.weights) == set(module.state_dict())
    assert {"conv", "inner", "head", "words"} <= {o.name for o in entry.network.graph}


def test_a_tuple_goes_in_order_by_the_names_of_forward() -> None:
    ports = tuple(Port(str(n), p.shape, p.whole) for n, p in enumerate((IMAGE, IDS, MASK)))
    entry = entry_of("c", "c", Captioned(), (width(ports),), ends=Ends(ports))
    assert ports_of(entry.network.graph.ops[0]) == (IMAGE, IDS, MASK)


def test_a_mask_of_padding_leaves_attention_open_to_edits() -> None:
    entry = entry_of("m", "m", Masked(), (10,), ends=Ends((IDS, MASK)))
    answers(entry)
    assert [o.kind for o in entry.network.graph if o.kind in ("opaque", "matmul", "softmax")] == [
        "opaque", "matmul", "softmax", "matmul",
    ]  # fmt: skip
    assert entry.answers is not None
    masks = entry.answers.inputs[:, 5:]
    assert set(np.unique(masks)) == {0.0, 1.0}


def test_data_say_what_the_inputs_are() -> None:
    rng = np.random.default_rng(0)
    inputs: Any = {
        "ids": rng.integers(0, 10, (12, 5)), "mask": np.ones((12, 5), np.int64),
        "image": rng.random((12, 3, 8, 8)).astype(np.float32),
    }  # fmt: skip
    part = Split(inputs, np.arange(12) % 4)
    dataset = checked(Dataset("mine", ("a", "b", "c", "d"), (0.0,), (1.0,), part, part, lambda: part))
    entry = entry_of("c", "c", Captioned(), dataset.input_shape, dataset)
    assert ports_of(entry.network.graph.ops[0]) == (IDS, MASK, IMAGE)
    np.testing.assert_array_equal(dataset.train.inputs, packed(dataset.ports, inputs))
    assert entry.answers is not None
    assert entry.answers.kinds.count("data") == 4


@pytest.mark.parametrize(
    ("module", "ends", "said"),
    [
        (Captioned(), Ends((IMAGE, IDS)), "c needs 'mask': forward takes image, ids, mask, scale, the data have image"),
        (Captioned(), Ends((IMAGE, IDS, Port("msk", (5,), True))), "takes no 'msk'; did you mean 'mask'"),
        (Siamese(), Ends((Port("0", (3, 8, 8)),)), "c needs 2 inputs .left, right., the data have 1"),
        (Siamese(), Ends(tuple(Port(str(n), (3, 8, 8)) for n in range(3))), "takes 2 inputs .left, right., the data"),
    ],
)
def test_other_inputs_are_refused_with_those_that_it_takes(module: nn.Module, ends: Ends, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        entry_of("c", "c", module, (width(ends.ports),), ends=ends)
    assert "\n" not in str(caught.value)


Pair = namedtuple("Pair", "score states")


@dataclass
class Record:
    logits: Tensor
    states: Tensor | None = None


class Answering(Trunk):
    """Answers with whatever `form` makes of a picture's class and map."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form = form
        self.side = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Any:
        y = self.seen(x)
        return self.form(self.head(y), self.side(y))


@pytest.mark.parametrize(
    ("form", "output", "size", "note"),
    [
        (lambda a, b: (a, b), "0", 4, "output 0; 1 dropped"),
        (lambda a, b: (a, b), "1", 2, "output 1; 0 dropped"),
        (lambda a, b: {"a": a, "b": b}, "b", 2, "output b; a dropped"),
        (lambda a, b: {"a": a, "b": b}, "0", 4, "output a; b dropped"),
        (lambda a, b: Pair(a, (b, b)), "states.1", 2, "output states.1; score, states.0 dropped"),
        (lambda a, b: Record(a, b), None, 4, "output logits; states dropped"),
        (lambda a, b: OrderedDict(aux=a, out=b), None, 2, "output out; aux dropped"),
        (lambda a, b: (a, b.argmax(1)), None, 4, "output 0; 1 dropped"),
        (lambda a, b: (None, [b]), None, 2, ""),
        (lambda a, b: [a], None, 4, ""),
    ],
)
def test_one_answer_is_fitted_and_what_is_dropped_is_said(form: Any, output: str | None, size: int, note: str) -> None:
    entry = entry_of("a", "a", Answering(form), (3, 8, 8), ends=Ends(output=output))
    answers(entry)
    assert entry.network.graph[entry.network.graph.output].shape == (size,)
    assert entry.notes == ((note,) if note else ())
    assert all(not name.startswith("module.") for name in entry.network.weights)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (None, r"answers with 2 values: a \(batch, 4\), b \(batch, 2\); say which one it is for: --output NAME"),
        ("c", r"has no output 'c'; it answers a \(batch, 4\), b \(batch, 2\)"),
        ("2", "has no output '2'"),
    ],
)
def test_where_none_is_obvious_all_are_listed(output: str | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        entry_of("a", "a", Answering(lambda a, b: {"a": a, "b": b}), (3, 8, 8), ends=Ends(output=output))


def test_heads_that_are_called_auxiliary_are_dropped_where_they_answer_alike() -> None:
    class Deep(Trunk):
        def __init__(self) -> None:
            super().__init__()
            self.aux_head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.seen(x)
            return self.head(y), self.aux_head(y)

    assert entry_of("d", "d", Deep(), (3, 8, 8)).notes == ("output 0; 1 dropped",)


def test_answers_of_plain_objects_are_looked_into() -> None:
    class Out:
        def __init__(self) -> None:
            self.logits, self.loss = torch.ones(1, 2), None

    assert list(values_in(Out())) == [("logits",)]
