"""Measurements that outlive a run."""

from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.types import Measurement
from chipfit.store.memory import LayeredMemory, MeasurementTable, measurement_key
from chipfit.store.store import Store


def ms(value: float) -> Measurement:
    return Measurement("latency_ms", value, "measured", "cpu-1", "quick-v1", 0.01, 30)


def test_keys_tell_structure_device_and_protocol_apart():
    keys = {measurement_key(s, d, p) for s in "ab" for d in "cd" for p in "ef"}
    assert len(keys) == 8


def test_a_store_remembers_and_a_later_value_takes_the_place(tmp_path: Path):
    with Store(tmp_path) as store:
        assert store.measurement("k") is None
        store.remember("k", ms(1.0))
        store.remember("k", ms(2.0))
    with Store(tmp_path) as store:
        assert store.measurement("k") == ms(2.0) == store.memory.get("k")


def test_two_holders_share_a_file_without_a_lock(tmp_path: Path):
    place = tmp_path / "made" / "measurements.db"
    one, two = MeasurementTable.open(place), MeasurementTable.open(place)
    one.put("k", ms(1.0))
    assert two.get("k") == ms(1.0)
    two.put("k", ms(3.0))
    assert one.get("k") == ms(3.0)
    one.close()
    two.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be made"):
        MeasurementTable.open(tmp_path / "file" / "sub" / "m.db")


def test_a_run_takes_over_what_only_the_user_memory_knows(tmp_path: Path):
    far = MeasurementTable.open(tmp_path / "user.db")
    far.put("old", ms(1.0))
    with Store(tmp_path / "run") as store:
        both = LayeredMemory(store.memory, far)
        assert both.get("old") == ms(1.0) == store.measurement("old")
        assert both.get("new") is None
        both.put("new", ms(2.0))
        assert store.measurement("new") == far.get("new") == ms(2.0)
        far.put("old", ms(9.0))
        assert both.get("old") == ms(1.0)  # the run's own number stays what it was
    far.close()
