"""The command itself: its verbs, and how each way of ending becomes an exit code and one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import RepeatArgumentError, UnusedCliTokensError
from rich.console import Console

from chipfit.cli import machine, predict, programs, verbs
from chipfit.cli.ending import end_soon
from chipfit.cli.output import document, say
from chipfit.cli.stdout import for_results, results
from chipfit.core.errors import BadInput, ChipfitError, Infeasible, Note, as_told
from chipfit.core.orphans import on_main_thread
from chipfit.core.scratch import sweep_scratch
from chipfit.core.words import shown

HELP = """Fit trained networks to a chip: the best model that holds a budget, as a file that was measured there.

chipfit fit zoo:fashion-mnist --data fashion-mnist --max latency_ms=60% --time 5m --out runs/first
"""
_PACKAGE = "chipfit"
VERBS: tuple[Callable[..., int], ...] = (
    machine.demo, machine.doctor, machine.devices, verbs.profile, verbs.check, verbs.fit, verbs.resume,
    verbs.report, verbs.compare, verbs.export, verbs.init, verbs.schema,
)  # fmt: skip
"""In the order in which the help lists them."""
PREDICT = "Predict a device's latency from about 20 timings and tables of other devices."
PREDICT_VERBS: tuple[Callable[..., int], ...] = (
    predict.measure,
    predict.draw,
    predict.fit,
    predict.run,
    predict.check,
    predict.split,
)
PROGRAMS = "Operator programs that stand in for layers: those that ship, and those that were found here."


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown (not installed)"


def build() -> App:
    """The parser with every verb."""
    app = App(
        name=_PACKAGE,
        help=HELP,
        version=_version,
        console=Console(file=results()),
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=False),
        exit_on_error=False,
        print_error=False,
        help_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for place, verb in enumerate(VERBS):
        app.command(verb, sort_key=place)
    zoo = App(name="zoo", help=machine.zoo.__doc__ or "", sort_key=VERBS.index(machine.devices))
    zoo.default(machine.zoo)
    zoo.command(machine.train_zoo, name="train")
    app.command(zoo)
    foretell = App(name="predict", help=PREDICT, sort_key=VERBS.index(verbs.report))
    for place, verb in enumerate(PREDICT_VERBS):
        foretell.command(verb, sort_key=place)
    app.command(foretell)
    library = App(name="programs", help=PROGRAMS, sort_key=VERBS.index(verbs.report))
    library.command(programs.programs_list, name="list", sort_key=0)
    library.command(programs.programs_show, name="show", sort_key=1)
    app.command(library)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit code.

    0 done, 1 something failed, 2 wrong usage or input, 3 no model holds the budget, 130 stopped with Ctrl-C, SIGTERM or
    SIGHUP. What killed commands left in the temporary directory is swept first; what user code left running is ended.
    """
    code = _run(list(sys.argv[1:] if argv is None else argv), for_good=argv is None)
    if argv is None:
        with suppress(OSError, ValueError):
            results().flush()
        end_soon(code)
    return code


def _run(words: Sequence[str], *, for_good: bool) -> int:
    """The exit code of one command line; `for_good` where this process ends with it."""
    loud = bool({"-v", "--verbose"} & set(words))
    with warnings.catch_warnings(), stopping(), for_results(for_good=for_good):
        if not loud:
            warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=Note)
        warnings.showwarning = partial(_shown, warnings.showwarning)
        try:
            return _ended(words, loud)
        except BrokenPipeError:  # the reader of our output has enough, as `| head` does; nothing is left to flush
            for stream in (results(), sys.stderr)[: 2 if for_good else 1]:
                with suppress(OSError, ValueError):  # closed, or no file at all
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return 0


def _ended(words: Sequence[str], loud: bool) -> int:
    """The exit code of one command line, whatever it ends in having been said."""
    try:
        sweep_scratch()
        code = int(build()(words) or 0)
        results().flush()
        return code
    except CycloptsError as e:
        return _failed(words, BadInput(f"{_usage(e)}; see chipfit --help"))
    except ChipfitError as e:
        return _failed(words, e, trace=loud)
    except KeyboardInterrupt:
        say("stopped")
        return verbs.STOPPED
    except BrokenPipeError:
        raise
    except Exception as e:
        return _failed(words, as_told(e) or _internal(e, loud), trace=loud)


def _internal(error: Exception, loud: bool) -> ChipfitError:
    """What is no fault of the user's, in one line that can be reported."""
    what = " ".join(str(error).split())[:LONGEST]
    how = "" if loud else "; run it again with -v for the traceback, and report it with that"
    return ChipfitError(f"internal: {type(error).__name__}: {what}{how}")


def _shown(
    otherwise: Callable[..., None], message: Warning | str, category: type[Warning], *where: object, **how: object
) -> None:
    """Says a note as a line of ours; other warnings, which -v asks for, as Python does."""
    if issubclass(category, Note):
        say(f"note: {message}")
    else:
        otherwise(message, category, *where, **how)


LONGEST = 300
"""Characters of an error that is not ours."""


@contextmanager
def stopping() -> Iterator[None]:
    """SIGTERM and SIGHUP end what is done inside as Ctrl-C does: workers go, what was done is kept and named.

    Each does so once; a second one ends the process as usual. One that is ignored, as `nohup` has it, stays so.
    """

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    if not on_main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failed(words: Sequence[str], error: ChipfitError, trace: bool = False) -> int:
    """Says an error in one line, and as JSON where that was asked for."""
    if trace:
        traceback.print_exc()
    say(f"error: {error}")
    if "--json" in words:
        nearest = dict(error.nearest) if isinstance(error, Infeasible) else {}
        document({"error": str(error), "exit_code": error.exit_code, "nearest": nearest})
    return error.exit_code


def _usage(error: CycloptsError) -> str:
    """What is wrong with the words, as one clause."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{shown(error.unused_tokens[0])} is not expected here; give an option again for each of several values"
    if isinstance(error, RepeatArgumentError):
        return f"{_sentence(str(error))}; give it once"
    return _sentence(str(error))


def _sentence(text: str) -> str:
    """Cyclopts' message as one clause of ours: without its list of commands, which it cuts off anyway."""
    line = " ".join(text.split()).partition(" Available commands:")[0].rstrip(".").replace(". Did you", "; did you")
    return f"{line[:1].lower()}{line[1:]}"
