"""A file of weights, read as what it is: safetensors, or a state dict that torch reads without running code.

What a file is stands in its first bytes and not in its name. One that is something else than its suffix says (a web
page, a pointer of Git LFS, a whole pickled module, half a download) is refused by what it is found to be, with the way
out; nothing in it is ever executed.
"""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from chipfit.core.errors import BadInput

State = dict[str, Tensor]

NESTS = (
    "state_dict", "model", "model_state_dict", "net", "network", "module", "weights", "params",
    "ema", "model_ema", "state_dict_ema", "ema_state_dict",
)  # fmt: skip
"""Where training scripts put a state dict; the first that is there counts: weights before their averages."""

KINDS = {".safetensors": "safetensors", ".pt": "torch", ".pth": "torch", ".ckpt": "torch", ".bin": "torch"}
"""What files of weights are, by their suffixes."""

DEEPEST = 5
"""Levels of such nests that are followed."""

SAVE = "safetensors.torch.save_model(model, 'model.safetensors')"
"""What to run to get a file that loads anywhere, tied layers too."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS and not the file itself; run git lfs pull"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"(\xb5/\xfd", "compressed with zstd; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras?); save a PyTorch state dict instead"),
    (b"GGUF", "a GGUF file; save a PyTorch state dict instead"),
    (b"\x93NUMPY", "a NumPy array; save a PyTorch state dict instead"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
)
_HEADER = struct.Struct("<Q")


def read_state(path: Path) -> State:
    """Names and tensors of a .safetensors file, or of a checkpoint of torch: .pt, .pth, .ckpt or .bin.

    Raises:
        BadInput: no such file, an unknown suffix, a file of another kind than its suffix says, a damaged one, or one
            that holds more than tensors.
    """
    if path.is_dir():
        raise BadInput(f"weights {str(path)!r} are a folder; give the file in it, such as .safetensors or .pth")
    if not path.exists():
        raise BadInput(f"weights {str(path)!r} do not exist; give a file such as .safetensors or .pth")
    if not path.is_file():
        raise BadInput(f"weights {str(path)!r} are no regular file; give one such as .safetensors or .pth")
    wanted = KINDS.get(path.suffix.lower())
    if wanted is None:
        raise BadInput(f"weights {str(path)!r} are of unknown kind {path.suffix!r}; give {', '.join(KINDS)}")
    try:
        kind = _kind(path)
    except OSError as e:
        raise BadInput(f"weights {str(path)!r} cannot be read ({one_line(e)})") from e
    if kind != wanted:
        raise BadInput(f"weights {str(path)!r} {_refusal(path, wanted, kind)}")
    return _safetensors(path) if wanted == "safetensors" else _nested(_torch_load(path), path)


def _kind(path: Path) -> str:
    """The word safetensors or torch, or a sentence that says what else the file is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty (0 bytes); save or download it again"
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (of a download that needs a login, perhaps); download it again"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model; save a PyTorch state dict instead"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "torch"
    if len(head) > 8 and head[8:9] == b"{":
        (header,) = _HEADER.unpack(head[:8])
        return (
            "safetensors" if 8 + header <= size else "cut off (its header says more than there is); download it again"
        )
    return "neither a safetensors file nor a torch checkpoint by its first bytes; save or download it again"


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "cut off or damaged (a zip archive without its directory); save or download it again"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        name, weights = path.name, f"{path.stem}-weights.pth"
        return (
            f"a TorchScript archive, which holds code; where you trust it, save its weights alone: "
            f"torch.save(torch.jit.load({name!r}).state_dict(), {weights!r})"
        )
    if "data.pkl" in inner:
        return "torch"
    if any(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz); save a PyTorch state dict instead"
    if any("serialized_exported_program" in name or name.endswith("models/model.json") for name in names):
        return f"an exported program (.pt2), which is no state dict; save one: {SAVE}"
    return "a zip archive without a state dict; unpack it first"


def _refusal(path: Path, wanted: str, kind: str) -> str:
    if kind in ("safetensors", "torch"):
        suffix, what = (
            (".safetensors", "a safetensors file") if kind == "safetensors" else (".pth", "a torch checkpoint")
        )
        return f"are no {wanted} file but {what} by their content; rename it to {path.stem}{suffix}"
    return (
        f"are no safetensors file: it is {kind}" if wanted == "safetensors" else f"cannot be read: the file is {kind}"
    )


def _safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except Exception as e:  # whatever its header says: types that torch lacks, sizes that do not add up
        raise BadInput(
            f"weights {str(path)!r} are no safetensors file that can be read ({one_line(e)}); save it again: {SAVE}"
        ) from e


def _torch_load(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are read all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # the bytes of a stranger, read by an interpreter: every kind of error means this
        unsafe = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|operand|global)", str(e))
        if unsafe is not None:
            what = unsafe[1] or "a pickle of another kind"
            raise BadInput(
                f"weights {str(path)!r} hold more than tensors ({what}), and reading them would run code; where you "
                f"trust them, convert what torch.load({path.name!r}, weights_only=False) gives: {SAVE}"
            ) from e
        raise BadInput(
            f"weights {str(path)!r} cannot be read ({one_line(e)}): cut off, damaged, or no checkpoint of torch; save "
            f"model.state_dict() again"
        ) from e


def _nested(found: object, path: Path) -> State:
    """The state dict itself, which training scripts often put some levels down."""
    for _ in range(DEEPEST):
        if not isinstance(found, Mapping) or all(isinstance(t, Tensor) for t in found.values()):
            break
        nest = next((n for n in NESTS if isinstance(found.get(n), Mapping)), None)
        if nest is None:
            break
        found = found[nest]
    if not isinstance(found, Mapping) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise BadInput(
            f"weights {str(path)!r} hold no state dict but {_told(found)}; save model.state_dict(), alone or as "
            f"'state_dict'"
        )
    return {str(n): t for n, t in found.items()}


def _told(found: object) -> str:
    if not isinstance(found, Mapping):
        return type(found).__name__
    if not found:
        return "an empty dict"
    others = [str(n) for n, t in found.items() if not isinstance(t, Tensor)]
    if len(others) < len(found):
        kind = type(next(t for t in found.values() if not isinstance(t, Tensor))).__name__
        return f"tensors together with {', '.join(others[:3])} ({kind})"
    return f"a dict of {', '.join(others[:5])}"


def one_line(e: BaseException) -> str:
    """The first line of an error's text, or its kind."""
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:120]
