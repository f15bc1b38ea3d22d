"""What a head with encoders of its own sees, on its way and along demonstrations."""

import numpy as np
import pytest

from mummi.imitation.latents import View
from mummi.imitation.sensors import RawSensors
from tests.support.small import ACTION_SIZE, MODALITIES, draw_value

STEPS = 4


def view(seed: int = 0) -> View:
    random = np.random.default_rng(seed)
    values = {m.name: draw_value(random, m, (STEPS,)) for m in MODALITIES}
    values["touch"][1, 0] = np.nan
    available = {m.name: random.random(STEPS) >= 0.3 for m in MODALITIES}
    available["touch"][:2] = True
    wanted, done = random.uniform(-1, 1, (2, STEPS, ACTION_SIZE)).astype(np.float32)
    return View(values, available, done, done[:, 0], wanted)


def test_acting_and_demonstrations_show_the_same():
    sensors, seen = RawSensors(MODALITIES, ACTION_SIZE), view()
    (found,) = sensors.encode([seen])
    np.testing.assert_array_equal(found.action, seen.wanted)
    np.testing.assert_array_equal(found.executed, seen.actions)
    followed = sensors.start(1)
    assert followed.verdict is None
    for t in range(STEPS):
        values, available = (
            {name: x[t : t + 1] for name, x in of.items()} for of in (seen.values, seen.available)
        )
        done = seen.actions[t : t + 1]
        percept, followed = sensors.step(followed, values, available, done, np.array([t == 0]))
        assert percept.feature.shape == (1, sensors.sizes.feature) == (1, 0)
        for m in MODALITIES:
            assert percept.available[m.name] == found.percept.available[m.name][t]
            np.testing.assert_array_equal(percept.values[m.name][0], seen.values[m.name][t])
    assert found.percept.feature.shape == (STEPS, 0)
    # A value that is not finite is none.
    assert list(found.percept.available["touch"][:2]) == [True, False]


def test_there_is_no_world_model_to_hold_sensors_against():
    with pytest.raises(ValueError, match="encoders of its own and no world model"):
        RawSensors(MODALITIES, ACTION_SIZE).model  # noqa: B018
