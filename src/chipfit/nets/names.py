"""The one place where a traced network's names are made, so that none is given twice, in no format.

Operators and arrays are named like the modules they come from. A graph's names have meaning elsewhere, though: `input`
is the graph's own first operator, `.` becomes `/` in torch's module tables, writers name what they add to an operator
`<operator>/<part>`, and ncnn's files are words between blanks. So a name holds letters, digits and `_.-@` only; what is
taken gets a number behind an `@`.
"""

from __future__ import annotations

import re

INPUT = "input"
"""The name of a graph's first operator, reserved for it."""


class Names:
    """Names of one kind (operators, or prefixes of arrays), each given once."""

    def __init__(self, *reserved: str) -> None:
        self._taken = dict.fromkeys(reserved)

    def fresh(self, wish: str) -> str:
        """The wish, made of the characters that all formats take, numbered where it is taken."""
        plain = re.sub(r"[^\w.@\-]|[^\x00-\x7f]", "_", wish).strip(".")[:200] or "op"
        name, n = plain, 1
        while name in self._taken:
            n += 1
            name = f"{plain}@{n}"
        self._taken[name] = None
        return name

    def __len__(self) -> int:
        return len(self._taken)

    def back_to(self, length: int) -> None:
        """Takes back the names given since there were so many."""
        while len(self._taken) > length:
            self._taken.popitem()
