"""Pictures in every mode, depth and orientation: right, and said, or refused in one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.data.pictures import load
from data.files import deep_png, empty_png, png, saved, two_classes

RNG = np.random.default_rng(0)


def read(path: Path, resize: tuple[int, int] | None = None) -> Dataset:
    return load(path, resize=resize, normalize=None)


def of_all(d: Dataset) -> NDArray[np.uint8]:
    return np.concatenate([p.inputs for p in (d.train, d.validation, d.open_test())])


def write(root: Path, contents: list[bytes], suffix: str = ".png") -> Path:
    """Half of the contents in class a, half in b."""
    for k, content in enumerate(contents):
        folder = root / "ab"[2 * k // len(contents)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k:02d}{suffix}").write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("top", "dtype", "kind", "divisor"),
    [
        (256, np.uint16, "PNG", 1), (10, np.uint16, "PNG", 1), (1024, np.uint16, "TIFF", 4),
        (4096, np.uint16, "PNG", 16), (65536, np.uint16, "TIFF", 256), (256, np.int32, "TIFF", 1),
        (2**24, np.int32, "TIFF", 2**16), (4096, np.float32, "TIFF", 16),
    ],
)  # fmt: skip
def test_deep_grey_is_scaled_by_the_largest_value_of_the_set(
    tmp_path: Path, top: int, dtype: type, kind: str, divisor: int
) -> None:
    values = RNG.integers(0, top // 3, (10, 5, 6))
    values[7, 0, 0] = top - 1  # in one picture only: the others are scaled alike
    d = read(write(tmp_path, [saved(Image.fromarray(v.astype(dtype)), kind) for v in values], f".{kind}"))
    assert d.input_shape == (1, 5, 6)
    want = {v.tobytes() for v in (values // divisor).astype(np.uint8)}
    assert {x.tobytes() for x in of_all(d)} == want
    (note,) = [n for n in d.notes if "bits" in n]
    assert note.startswith(f"10 pictures of more than 8 bits a value: the largest value of all is {top - 1:g}")
    assert ("taken as they are" if divisor == 1 else f"divided by {divisor}") in note


def test_floats_between_zero_and_one_become_255(tmp_path: Path) -> None:
    values = RNG.random((10, 5, 6)).astype(np.float32)
    d = read(write(tmp_path, [saved(Image.fromarray(v), "TIFF") for v in values], ".tif"))
    assert {x.tobytes() for x in of_all(d)} == {np.round(v * 255).astype(np.uint8).tobytes() for v in values}
    assert "10 pictures of floats in 0..1 were multiplied by 255 and rounded to 8 bits" in d.notes


@pytest.mark.parametrize(("top", "factor"), [(1.02, 127.5), (20.0, 7.96875)])
def test_floats_beyond_one_keep_their_fractions(tmp_path: Path, top: float, factor: float) -> None:
    values = (RNG.random((10, 5, 6)) * 0.9 * top).astype(np.float32)
    values[3, 0, 0] = top
    d = read(write(tmp_path, [saved(Image.fromarray(v), "TIFF") for v in values], ".tif"))
    assert {x.tobytes() for x in of_all(d)} == {np.round(v * factor).astype(np.uint8).tobytes() for v in values}
    (note,) = [n for n in d.notes if "floats" in n]
    assert f"were multiplied by {factor:g} and rounded to 8 bits" in note


@pytest.mark.parametrize(("top", "divisor"), [(256, 1), (4096, 16), (65536, 256)])
@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_deep_colour_keeps_its_small_values_too(
    tmp_path: Path, top: int, divisor: int, colour_type: int, channels: int
) -> None:
    values = RNG.integers(0, top, (10, 5, 6, channels)).astype(np.uint16)
    values[..., :3].flat[0] = top - 1
    d = read(write(tmp_path, [deep_png(v, colour_type) for v in values]))
    want = {(v[..., :3] // divisor).astype(np.uint8).transpose(2, 0, 1).tobytes() for v in values}
    assert {x.tobytes() for x in of_all(d)} == want


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            saved(Image.fromarray(np.full((5, 6), -3, np.int32)), "TIFF"),
            "holds negative values such as -3, which are no brightness",
        ),
        (saved(Image.fromarray(np.full((5, 6), np.inf, np.float32)), "TIFF"), "holds NaN or infinite values"),
        (deep_png(np.ones((5, 6, 2), np.uint16), 4), "grey of 16 bits with alpha; save it without alpha"),
        (empty_png(12_000, 12_000), "12000x12000, more than 67 million pixels"),
        (empty_png(60_000, 60_000), "more than 67 million pixels"),
        (empty_png(6, 5000), r"truncated|.+"),
        (png()[:60], ".+"),
        (b"", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n", "not a picture"),
        (bytes(2000), "not a picture"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    root = two_classes(tmp_path)
    (root / "b" / "3.png").write_bytes(content)
    with pytest.raises(BadInput, match=rf"1 of 8 pictures cannot be read: b/3.png \(({said})\); mend or remove") as e:
        read(root, resize=(4, 4))
    assert "\n" not in str(e.value)


def test_all_pictures_broken_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"8 of 8 pictures cannot be read: a/00.png \(.*\), a/01.png .*, \.\.\.; mend"):
        read(write(tmp_path, [png(k)[: 40 + k] for k in range(8)]))


def _turned(kind: str) -> Callable[[int], bytes]:
    def made(orientation: int) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.random.default_rng(orientation).integers(0, 256, (6, 6), np.uint8)
        return saved(Image.fromarray(np.repeat(np.repeat(pixels, 8, 0), 8, 1)), kind, exif=exif)

    return made


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_exif_orientation_is_applied_and_counted(tmp_path: Path, kind: str) -> None:
    made = [_turned(kind)(o) for o in (1, 2, 3, 4, 5, 6, 7, 8)]
    d = read(write(tmp_path, made, f".{kind.lower()}"))
    want = set()
    for content in made:
        turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        want.add(np.asarray(turned.convert("L" if d.input_shape[0] == 1 else "RGB")).T.tobytes())
    assert {
        x.T.swapaxes(0, 1).T.tobytes() if x.ndim == 2 else x.transpose(0, 2, 1).tobytes() for x in of_all(d)
    } == want
    assert "7 pictures were turned as their EXIF orientation says" in d.notes


def test_a_damaged_orientation_beside_sound_pixels_is_none(tmp_path: Path) -> None:
    contents = [saved(Image.open(io.BytesIO(png(k))), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff") for k in range(8)]
    d = read(write(tmp_path, contents, ".jpg"))
    assert not any("turned" in n for n in d.notes)


def test_what_is_changed_is_counted_in_the_notes(tmp_path: Path) -> None:
    frames = [Image.open(io.BytesIO(png(k, mode="L"))) for k in (50, 51)]
    contents = [
        *(png(k, mode="RGBA") for k in range(3)), png(3, mode="LA"), png(4, mode="P"), png(5, mode="1"), png(6),
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    ]  # fmt: skip
    root = write(tmp_path, contents)
    saved_cmyk = saved(Image.open(io.BytesIO(png(8))).convert("CMYK"), "JPEG")
    (root / "a" / "c.jpg").write_bytes(saved_cmyk)
    d = read(root)
    for note in (
        "2 grey pictures among coloured ones were read as RGB", "1 picture in CMYK was read as RGB",
        "4 pictures have an alpha channel, which was dropped", "2 pictures with a palette were read as RGB",
        "1 picture has several frames or pages, of which the first was taken",
    ):  # fmt: skip
        assert note in d.notes
    first = np.asarray(frames[0])
    assert any((x == first).all() for x in of_all(d))


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG2000"])
def test_newer_formats_are_read_where_pillow_can(tmp_path: Path, kind: str) -> None:
    name = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}[kind]
    if not features.check(name):
        pytest.skip(f"this Pillow reads no {kind}")
    suffix = {"WEBP": ".webp", "AVIF": ".AVIF", "JPEG2000": ".jp2"}[kind]
    contents = [saved(Image.open(io.BytesIO(png(k, (16, 16)))), kind) for k in range(8)]
    assert read(write(tmp_path, contents, suffix)).input_shape == (3, 16, 16)


def test_a_format_that_pillow_lacks_is_passed_over_with_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipfit.data.files.readable", lambda: frozenset({".png"}))
    root = two_classes(tmp_path)
    (root / "a" / "x.avif").write_bytes(b"anything")
    assert "1 file that is no picture passed over: 1 .avif" in read(root).notes
    monkeypatch.setattr("chipfit.data.files.readable", lambda: frozenset({".bmp"}))
    with pytest.raises(
        BadInput, match="holds no pictures.*; 9 files that are no pictures passed over: 8 .png, 1 .avif"
    ):
        read(root)
