from __future__ import annotations

import pytest

from chipfit.core.errors import BadInput
from chipfit.nets.published import published


@pytest.mark.parametrize(
    ("name", "params", "mmacs"),
    [
        ("alexnet", 61_100_840, 714.2),
        ("vgg16", 138_357_544, 15_470.3),
        ("resnet18", 11_689_512, 1_814.1),
        ("resnet50", 25_557_032, 4_089.2),
        ("wide_resnet50_2", 68_883_240, 11_398.0),
        ("squeezenet1_0", 1_248_424, 818.9),
        ("squeezenet1_1", 1_235_496, 349.2),
        ("densenet121", 7_978_856, 2_834.2),
        ("densenet161", 28_681_000, 7_727.9),
        ("mobilenet_v2", 3_504_872, 300.8),
        ("mnasnet1_0", 4_383_312, 314.4),
    ],
)
def test_parameters_and_macs_are_the_published_ones(name: str, params: int, mmacs: float) -> None:
    graph = published(name)
    assert graph.total_params == params
    assert graph.total_macs / 1e6 == pytest.approx(mmacs, abs=0.06)


def test_small_pictures_get_a_stem_without_stride() -> None:
    graph = published("resnet18", size=32, classes=10)
    assert graph["conv1"]["kernel"] == (3, 3)
    assert graph[graph.output].shape == (10,)


def test_pictures_that_are_too_small() -> None:
    with pytest.raises(BadInput, match="pictures of 16x16 are too small: a map of 0x0 is left; give larger"):
        published("vgg16", size=16)


def test_an_unknown_network_in_one_line() -> None:
    with pytest.raises(BadInput, match="network 'resnet19' is unknown; did you mean 'resnet1"):
        published("resnet19")
