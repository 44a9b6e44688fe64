"""What is left without a block, and which operator of the original each of those that are left answers for."""

from __future__ import annotations

from chipfit.core.graph import Graph, op
from chipfit.space.edits import Skip, edited
from compress.networks import network_of
from models.residual import conv, residual


def test_what_is_left_and_what_it_answers_for() -> None:
    """Both blocks go: the stem makes up for the first, the projection for the second."""
    made = edited(residual(), [Skip("add_a"), Skip("add_b")])
    assert [o.name for o in made.graph] == ["input", "stem", "r0", "short", "r2", "mean", "head"]
    assert made.graph["short"].inputs == ("r0",)
    assert {name: model for name, model in made.stands_for.items() if name != model} == {
        "r0": "r1", "stem": "add_a", "short": "add_b",
    }  # fmt: skip
    assert set(made.arrays) == {f"{n}.{r}" for n in ("stem", "short", "head") for r in ("weight", "bias")}
    assert made.channels == {}


def test_skipped_identity_blocks_are_absorbed() -> None:
    """Blocks 3, 4, 5 of stage one: when 4 and 5 go, block 3 answers for 5."""
    graph = network_of("resnet20").graph
    answers = edited(graph, [Skip("4.add"), Skip("5.add")]).stands_for
    relu = {b: graph.users[f"{b}.add"][0] for b in (3, 5)}
    assert answers["3.body.3"] == "3.body.3"
    assert {name: model for name, model in answers.items() if name != model} == {"3.add": "5.add", relu[3]: relu[5]}


def test_a_projection_answers_for_the_block_it_replaces() -> None:
    assert edited(network_of("resnet8").graph, [Skip("5.add")]).stands_for["5.shortcut.1"] == "5.add"


def test_linear_bottlenecks() -> None:
    assert edited(network_of("mobilenetv2").graph, [Skip("5.add")]).stands_for["4.body.7"] == "5.add"


def test_an_activation_inside_a_dropped_body_is_nobodys_model() -> None:
    """The body begins with its own ReLU, and a projection stands beside it: the stem goes on answering for itself."""
    graph = Graph(
        (
            op("input", "input", (), (3, 8, 8)),
            conv("stem", "input", 3, 16),
            op("inside", "relu", ("stem",), (16, 8, 8)),
            conv("body", "inside", 16, 32),
            conv("short", "stem", 16, 32, kernel=1),
            op("sum", "add", ("body", "short"), (32, 8, 8)),
            op("mean", "global_pool", ("sum",), (32,), keep=0),
            op("head", "linear", ("mean",), (10,), "head", bias=1),
        ),
        "head",
    )
    made = edited(graph, [Skip("sum")])
    assert "inside" not in made.graph.by_name
    assert {name: model for name, model in made.stands_for.items() if name != model} == {"short": "sum"}
