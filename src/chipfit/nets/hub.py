"""Networks of model libraries by name: `timm:NAME`, `torchvision:NAME`, `hf:NAME_OR_FOLDER`.

The libraries build the module; weights are a file of the user's (`--weights`), or what the library finds in its own
cache or can download. No weights, no model: random ones would be fitted as if they were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.nets.torchvision_operators import importing, ready

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a network is to take and to give where its library lets that be said.

    `weights` is True where the library's own are wanted, False where a file follows. `classes` and `shape` are those of
    the data; None where nobody says.
    """

    name: str
    weights: bool
    classes: int | None = None
    shape: Shape | None = None


def build(spec: str, wanted_weights: bool, classes: int | None, shape: Shape | None) -> nn.Module:
    """The module of a spec.

    Raises:
        BadInput: no such network, no weights to be had here, or no library, with the pip line.
    """
    prefix, _, name = spec.partition(":")
    if not name.strip():
        raise BadInput(f"model {spec!r} names nothing; write {prefix}:NAME")
    return LIBRARIES[f"{prefix}:"](Wanted(name, wanted_weights, classes, shape))


def _library(module: str, package: str, spec: str) -> Any:
    """The library, or an error that says how to get it."""
    try:
        return importing(module, import_module)
    except ImportError as e:
        raise BadInput(f"model {spec!r} needs {package}, which is not installed; run: pip install {package}") from e
    except (RuntimeError, AttributeError) as e:  # torchvision beside a torch that it was not built for
        line = (str(e).strip().splitlines() or [type(e).__name__])[0][:160]
        raise BadInput(f"model {spec!r}: {package} cannot be imported beside this torch ({line})") from e


def _timm(wanted: Wanted) -> nn.Module:
    spec = f"timm:{wanted.name}"
    timm = _library("timm", "timm", spec)
    known = timm.list_models()
    if not timm.is_model(wanted.name.partition(".")[0]):
        raise BadInput(f"model {spec!r} is unknown{did_you_mean(wanted.name, known)}; see timm.list_models()")
    options: dict[str, Any] = {} if wanted.weights or wanted.classes is None else {"num_classes": wanted.classes}
    if wanted.shape is not None and len(wanted.shape) == 3:
        options["in_chans"] = wanted.shape[0]
    made: nn.Module = _fetched(spec, lambda: timm.create_model(wanted.name, pretrained=wanted.weights, **options))
    return made


def _torchvision(wanted: Wanted) -> nn.Module:
    spec = f"torchvision:{wanted.name}"
    models = _library("torchvision.models", "torchvision", spec)
    if wanted.name not in models.list_models():
        raise BadInput(f"model {spec!r} is unknown{did_you_mean(wanted.name, models.list_models())}")
    options: dict[str, Any] = {} if wanted.weights or wanted.classes is None else {"num_classes": wanted.classes}
    weights = "DEFAULT" if wanted.weights else None
    made: nn.Module = _fetched(spec, lambda: models.get_model(wanted.name, weights=weights, **options))
    return made


def _hugging_face(wanted: Wanted) -> nn.Module:
    spec = f"hf:{wanted.name}"
    library = _library("transformers", "transformers", spec)
    ready()
    library.logging.disable_progress_bar()
    folder = Path(wanted.name).expanduser()
    where = str(folder) if folder.is_dir() else wanted.name
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise BadInput(f"model {spec!r}: the folder has no config.json; give one of save_pretrained")
    config = _fetched(spec, lambda: library.AutoConfig.from_pretrained(where, trust_remote_code=False))
    config.use_cache = False  # what decoders keep for the next word is no answer
    named = list(getattr(config, "architectures", None) or [])
    kind = getattr(library, named[0], None) if named else library.AutoModel
    if kind is None:
        raise BadInput(f"model {spec!r} is a {named[0]}, which transformers does not have; it brings code of its own")
    if not wanted.weights:
        empty: nn.Module = kind(config) if named else kind.from_config(config)
        return empty
    made: nn.Module = _fetched(
        spec, lambda: kind.from_pretrained(where, config=config, trust_remote_code=False, use_safetensors=True)
    )
    return made


def _fetched(spec: str, make: Callable[[], Any]) -> Any:
    """What the library makes; a line where its weights are not here and cannot be had."""
    try:
        return make()
    except Exception as e:  # libraries raise whatever their client of the network does
        line = (" ".join(str(e).split()) or type(e).__name__)[:200]
        raise BadInput(
            f"model {spec!r}: its library could not make it or had no weights ({line}); give --weights FILE, or a "
            f"folder or cache that has them"
        ) from e


def usual_shape(module: nn.Module) -> Shape | None:
    """The pictures that timm, or transformers, says a network was trained on; None where nothing is said."""
    about = getattr(module, "pretrained_cfg", None)
    shape = about.get("input_size") if isinstance(about, Mapping) else None
    config = getattr(module, "config", None)
    channels, side = (getattr(config, name, None) for name in ("num_channels", "image_size"))
    if not shape and isinstance(channels, int) and side:
        shape = (channels, *(side if isinstance(side, Sequence) else (side, side)))
    return tuple(int(n) for n in shape) if shape else None


LIBRARIES: Mapping[str, Callable[[Wanted], nn.Module]] = {
    "timm:": _timm, "torchvision:": _torchvision, "hf:": _hugging_face,
}  # fmt: skip
"""How specs begin, and what builds the module."""
