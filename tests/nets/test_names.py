"""Names: each once, of characters that every format takes."""

from __future__ import annotations

import re

import pytest

from chipfit.nets.names import Names


def test_a_taken_name_gets_a_number() -> None:
    names = Names("input")
    given = [names.fresh(wish) for wish in ("a", "a", "a", "input", "a@2", "a@2")]
    assert given == ["a", "a@2", "a@3", "input@2", "a@2@2", "a@2@3"]


@pytest.mark.parametrize("wish", ["a/b", "a b", "é", "", ".", "a\nb", "x" * 999, "a:b", "a|b", "#"])
def test_names_are_words_of_plain_characters(wish: str) -> None:
    names = Names()
    first, second = names.fresh(wish), names.fresh(wish)
    assert first != second
    for name in (first, second):
        assert re.fullmatch(r"[A-Za-z0-9_.@\-]{1,210}", name)
