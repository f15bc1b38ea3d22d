"""What is told in words becomes a sensor of whatever format tells it."""

import numpy as np
import pytest

from mummi.imitation.demonstrations import Reading, open_with_instruction
from mummi.modality import Modality
from tests.support import demonstration_files


def test_each_sentence_is_embedded_once(tmp_path):
    path, asked = demonstration_files.libero(tmp_path / "drawer.hdf5"), []

    def embed(sentences):
        asked.append(sentences)
        return np.full((1, 4), len(sentences[0]))

    reading = Reading(("proprio", "instruction"))
    with open_with_instruction(path, reading, embed) as data:
        told = Modality("instruction", "embedding", (4,), can_fail=False)
        assert data.modalities == (Modality("proprio", "vector", (12,)), told)
        for demo in data:
            assert (demo.values["instruction"] == len("open the drawer")).all()
            assert demo.values["instruction"].shape == (len(demo.actions), 4)
            assert demo.availability("instruction").all()
    assert asked == [("open the drawer",)]


def test_data_that_tell_none_are_refused(tmp_path):
    path = demonstration_files.robomimic(tmp_path / "lift.hdf5")
    said = "lift.hdf5: demonstration 'demo_0' tells no instruction"
    with pytest.raises(ValueError, match=said):
        open_with_instruction(path, Reading(("instruction",)), lambda _: np.zeros((1, 2)))
    with open_with_instruction(path, Reading(), lambda _: np.zeros((1, 2))) as data:
        assert "instruction" not in [m.name for m in data.modalities]
