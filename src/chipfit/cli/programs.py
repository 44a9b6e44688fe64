"""The verbs about operator programs: those that ship, and those that were found on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, cast

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from chipfit.cli import show
from chipfit.cli.options import Common
from chipfit.cli.output import emit
from chipfit.cli.verbs import COMMON
from chipfit.core.errors import BadInput
from chipfit.core.types import Plain
from chipfit.device.cache import usable_folder
from chipfit.space.program.canonical import canonical, structural_hash
from chipfit.space.program.lower import fits
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program, parse
from chipfit.space.program.seeds import SEEDS
from chipfit.space.program.words import lines, place_words, share_of_macs
from chipfit.store.programs import FILE, Known, ProgramLibrary

LAYER = "64,56,56,64,3"
"""Where a program is shown unless asked otherwise: a 3x3 convolution of 64 channels on 56 x 56."""

DENSE = "192,768"
"""The same for programs of dense layers: the first of a feed-forward block."""

SHOWN = 8
"""Digits of a program's name in the list; any beginning that is one program's will do."""


def programs_list(*, common: Common = COMMON) -> int:
    """List the operator programs that ship with chipfit, and those that were found here, with where they were good."""
    with ProgramLibrary(usable_folder() / FILE) as library:
        found = library.programs()
    names = {known.program for known in found}
    shipped = [Known(structural_hash(p), canonical(p).text, ()) for p in SEEDS]
    listed = [*found, *(known for known in shipped if known.program not in names)]
    rows = [_row(known) for known in listed]
    head = ("name", "program", "fastest on", "speed-up there", "damage there", "places")
    emit(common, cast(Plain, [asdict(known) for known in listed]), [show.table("", head, rows, left=3)])
    return 0


def programs_show(
    program: Annotated[str, Parameter(name="PROGRAM")],
    /,
    *,
    at: Annotated[
        str | None, Parameter(help=f"a layer: C,H,W,M,K, or C,M of a dense one; {LAYER} or {DENSE} as suits it")
    ] = None,
    common: Common = COMMON,
) -> int:
    """Show one program as formulas, with what each instruction costs at a layer, and where it was good.

    Parameters
    ----------
    program
        the beginning of its name, or its text: 'dwconv(x, 3x3); pwconv(_, M)'
    """
    known = _known(program)
    made = parse(known.text)
    place = layer(at) if at is not None else _usual(made)
    try:
        told, share = lines(made, place), share_of_macs(made, place)
    except ValueError as e:
        raise BadInput(f"{e}; give another layer with --at") from None
    head = f"{known.program}  {known.text}"
    cells: list[list[RenderableType]] = [
        [line.formula, line.about, line.shape, f"{line.macs / 1e6:.3g}", str(line.params)] for line in told
    ]
    title = f"at {place_words(place)}: {100 * share:.3g} % of its MACs"
    shown: list[RenderableType] = [Text(head, style="bold")]
    shown.append(show.table(title, ("", "", "makes", "M MACs", "weights"), cells, left=3))
    if known.uses:
        shown.append(show.table("where it was good", ("on", "at", "speed-up", "damage"), _uses(known), left=2))
    plain = {**asdict(known), "at": place_words(place), "share_of_macs": share, "lines": [asdict(t) for t in told]}
    emit(common, cast(Plain, plain), shown)
    return 0


def _usual(program: Program) -> Place:
    """The layer at which a program is shown unless asked otherwise: a dense one where it is for those."""
    conv, dense = layer(LAYER), layer(DENSE)
    return dense if fits(program, dense) and not fits(program, conv) else conv


def layer(text: str) -> Place:
    """The layer that C,H,W,M,K (a convolution) or C,M (a dense layer) stands for.

    Raises:
        BadInput: neither.
    """
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (2, 5) or min(sizes) < 1:
        raise BadInput(f"--at {text!r} is no layer; give C,H,W,M,K as in {LAYER}, or C,M of a dense one")
    if len(sizes) == 2:
        return Place("layer", "linear", "x", "layer", (sizes[0],), (sizes[1],))
    c, h, w, m, k = sizes
    if k % 2 == 0:
        raise BadInput(f"--at {text!r} has a kernel of {k}; give an odd one")
    return Place("layer", "conv", "x", "layer", (c, h, w), (m, h, w), kernel=(k, k), padding=(k // 2, k // 2))


def _known(name: str) -> Known:
    """The program of a text, of the library or of those that ship."""
    if "(" in name:
        return _shown(name)
    with ProgramLibrary(usable_folder() / FILE) as library:
        shipped = [p for p in SEEDS if structural_hash(p).startswith(name)]
        if len(shipped) == 1 and not any(k.program.startswith(name) for k in library.programs()):
            return _bare(shipped[0])
        return library.find(name)


def _shown(text: str) -> Known:
    try:
        return _bare(parse(text))
    except ValueError as e:
        raise BadInput(str(e)) from None


def _bare(program: Program) -> Known:
    return Known(structural_hash(program), canonical(program).text, ())


def _row(known: Known) -> list[str]:
    if not known.uses:
        return [known.program[:SHOWN], known.text, *[show.NONE] * 3, "0"]
    fastest = known.uses[0]
    places = str(len({use.place for use in known.uses}))
    there = [fastest.on, f"{fastest.speedup:.2f}", f"{fastest.damage:.3g}"]
    return [known.program[:SHOWN], known.text, *there, places]


def _uses(known: Known) -> list[list[str]]:
    return [[use.on, use.place, f"{use.speedup:.2f}", f"{use.damage:.3g}"] for use in known.uses]
