from __future__ import annotations

from typing import Any

import pytest

from chipfit.core.errors import BadInput
from chipfit.data.options import for_channels, parse_normalize, parse_resize


def test_resize_is_height_then_width() -> None:
    assert parse_resize("32") == (32, 32)
    assert parse_resize("24x48") == (24, 48)
    assert parse_resize("24,48") == (24, 48)


@pytest.mark.parametrize("text", ["", "0", "x", "32x", "-3", "3.5", "1x2x3", "99999"])
def test_resize_that_is_no_size(text: str) -> None:
    with pytest.raises(BadInput, match="HEIGHTxWIDTH"):
        parse_resize(text)


def test_normalize_forms() -> None:
    assert parse_normalize("0.5,0.25") == ((0.5,), (0.25,))
    imagenet = parse_normalize("0.485/0.456/0.406,0.229/0.224/0.225")
    assert imagenet == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.5", "not a mean and a deviation"),
        ("a,b", "not a mean and a deviation"),
        ("0.5,nan", "not a mean and a deviation"),
        ("1,2,3", "not a mean and a deviation"),
        ("0.5/0.4,0.2", "2 means and 1 deviations"),
        ("0.5,0", "deviation of 0; it must be above zero"),
        ("0.5,1e-320", "deviation of 9.99989e-321, which pixels scaled to 0..1 cannot have"),
        ("0.5/0.5,1/1e39", "deviation of 1e.39, which pixels"),
        ("-1e39,1", "mean of -1e.39, which pixels"),
    ],
)
def test_normalize_that_cannot_be_used(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_normalize(text)


def test_one_value_serves_all_channels_two_do_not_serve_three() -> None:
    assert for_channels(((0.5,), (0.25,)), 3) == ((0.5,) * 3, (0.25,) * 3)
    with pytest.raises(BadInput, match="2 means but the data have 3 channels; give 1 or 3"):
        for_channels(((0.5, 0.5), (1.0, 1.0)), 3)
    with pytest.raises(BadInput, match="deviation of 1e-39, which pixels scaled to 0..1 cannot have"):
        for_channels(((0.5,), (1e-39,)), 3)


@pytest.mark.parametrize("given", ["0.5,0.5", (0.5, 0.5), ((0.5,),), ((), ()), ((0.5, 0.5), (1.0,)), (("a",), (1.0,))])
def test_a_callers_normalisation_of_another_form_is_one_line(given: Any) -> None:
    with pytest.raises(BadInput, match="normalize .* (is no pair of lists|has no deviation for each mean)"):
        for_channels(given, 1)
