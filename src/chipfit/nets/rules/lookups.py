"""The rule of embeddings: a row of numbers for each whole number."""

from __future__ import annotations

from chipfit.nets.rules.call import Call
from chipfit.nets.rules.tracer import Pending, Rule, Tracer


def embedding(t: Tracer, call: Call) -> None:
    """Rows of a table; a row for padding is like any other once it is trained."""
    call.ignore("padding_idx", "scale_grad_by_freq", "sparse")
    table, found = t.constant(call, "weight"), t.operand(call, "indices")
    assert table is not None
    words = found.op if isinstance(found, Pending) and found.kind == "whole" else t.made(call, found)
    rows = int(table.value.shape[0])
    t.layer(call, "embedding", (words,), {"weight": table}, t.owner(call, table, "weight"), words=rows)


TABLE: dict[str, Rule] = {"embedding": embedding}
