"""What a training run logs of its evaluations."""

import dataclasses

import numpy as np
import pytest

import envs
from experiments.evaluation.during_training import Evaluation
from experiments.evaluation.video import PANEL
from mummi.agent import Agent
from mummi.runs import devices
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_returns_the_last_information_and_the_agreement_of_every_pair_of_sensors(tmp_path):
    config = dataclasses.replace(tiny.config(tmp_path), evaluate_episodes=2)
    sensors = envs.make("dummy", image_size=config.image_size)
    agent = Agent(config, sensors.modalities, sensors.action_size)
    scores = Evaluation(config)(agent, devices.run_once(agent.init, 0))
    names = [*(m.name for m in sensors.modalities), "all"]
    pairs = {f"decoding/{fitted}_to_{decoded}" for fitted in names for decoded in names}
    assert {name for name in scores if name.startswith("decoding/")} == pairs
    assert {"evaluation/return", "evaluation/std"} <= scores.keys()
    film = scores.pop("evaluation")
    assert np.isfinite(list(scores.values())).all()
    panels = 1 + len(sensors.modalities)  # the scene and every sensor
    assert film.dtype == np.uint8 and film.shape[2:] == (panels * PANEL, 3)
    assert film[0].std() > 0 and len(film) > 1
    # The same agent on the same seeds.
    again = Evaluation(config)(agent, devices.run_once(agent.init, 0))
    np.testing.assert_array_equal(again.pop("evaluation"), film)
    assert again == scores


def test_with_trust_it_says_how_far_each_sensor_is_believed(tmp_path):
    config = dataclasses.replace(tiny.config(tmp_path), evaluate_episodes=1, trust="on")
    sensors = envs.make("dummy", image_size=config.image_size)
    agent = Agent(config, sensors.modalities, sensors.action_size)
    scores = Evaluation(config)(agent, devices.run_once(agent.init, 0))
    for m in sensors.modalities:
        assert 0 <= scores[f"trust/{m.name}"] <= 1
        assert 0 <= scores[f"distrusted/{m.name}"] <= 1
