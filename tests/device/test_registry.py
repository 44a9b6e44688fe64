from __future__ import annotations

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.protocols import Device
from chipfit.device import registry
from chipfit.device.registry import ALIASES, DEVICES, open_device
from chipfit.export.formats import timing_bytes


@pytest.mark.parametrize("name", [*DEVICES, *ALIASES])
def test_every_name_opens_a_device_of_the_listed_format(name: str) -> None:
    real = ALIASES.get(name, name)
    if package := DEVICES[real].missing:
        pytest.skip(f"{package} is not installed")
    device = open_device(name, timing_bytes)
    assert isinstance(device, Device)
    assert (device.name, device.format) == (real, DEVICES[real].format)
    device.close()


def test_a_slip_of_the_pen_is_put_right() -> None:
    with pytest.raises(BadInput, match="'onnxruntme' is unknown; did you mean 'onnxruntime'"):
        open_device("onnxruntme", timing_bytes)


def test_a_missing_package_is_told_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install onnxruntime"):
        open_device("local", timing_bytes)
    with pytest.raises(BadInput, match="pip install ethos-u-vela"):
        open_device("ethos-u55", timing_bytes)
