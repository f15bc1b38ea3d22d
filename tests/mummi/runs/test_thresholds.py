"""Thresholds of trust come back as they were written, and from nothing else."""

import numpy as np
import pytest

from mummi.modality import Modality
from mummi.runs import thresholds

SENSORS = (Modality("rgb", "image", (4, 4, 3)), Modality("touch", "vector", (2,)))
ARRAYS = {"bank": np.arange(6.0).reshape(2, 3), "repeats": np.array([0.1, 0.2])}


def test_thresholds_come_back_for_their_checkpoint(tmp_path):
    thresholds.save(tmp_path, 7, SENSORS, ARRAYS)
    found = thresholds.load(tmp_path, 7, SENSORS, dict)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(FileNotFoundError, match=r"trust/8.npz is not there.*--trust on"):
        thresholds.load(tmp_path, 8, SENSORS, dict)


def test_thresholds_of_other_sensors_are_refused(tmp_path):
    thresholds.save(tmp_path, 7, SENSORS, ARRAYS)
    with pytest.raises(ValueError, match="of the sensors rgb, touch, and this run has touch"):
        thresholds.load(tmp_path, 7, SENSORS[1:], dict)


def test_a_damaged_file_is_said_to_be(tmp_path):
    thresholds.save(tmp_path, 7, SENSORS, ARRAYS)
    path = thresholds.path(tmp_path, 7)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"is damaged.*remove it"):
        thresholds.load(tmp_path, 7, SENSORS, dict)


def test_thresholds_of_another_version_are_said_to_be(tmp_path):
    def other(bank):
        return bank

    thresholds.save(tmp_path, 7, SENSORS, ARRAYS)
    with pytest.raises(ValueError, match=r"another version.*repeats.*remove it"):
        thresholds.load(tmp_path, 7, SENSORS, other)
