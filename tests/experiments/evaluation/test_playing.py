"""Conditions that are played: what is drawn for whom."""

import dataclasses

import pytest
from rich.console import Console

import envs
from envs.rendering.portrait import Portrait
from experiments.evaluation.conditions import cameras_of, conditions
from experiments.evaluation.playing import Stage, play
from mummi.presets import preset
from mummi.runs.record import Run

CONFIG = dataclasses.replace(
    preset("debug", "robomimic/lift"), task="robomimic/lift", env={"horizon": 3}, image_size=16
)


@pytest.fixture(scope="module")
def record():
    environment = envs.make(CONFIG.task, image_size=16)
    return Run(CONFIG, environment.modalities, environment.action_size)


@pytest.mark.parametrize("policy", ["random", "expert"])
def test_who_reads_no_sensor_has_no_camera_drawn_and_plays_the_same(policy, record, monkeypatch):
    (row,) = conditions(record, (), (), **{policy: True})
    (filmed,) = conditions(record, (), (), filmed=True, **{policy: True})
    assert filmed.undrawn == ()
    assert row.undrawn == cameras_of(record) == ("agentview_image", "robot0_eye_in_hand_image")
    with Stage(CONFIG, 1, seed=3) as stage:
        drawn = play(None, stage, filmed, [0, 2], Console()).result
        monkeypatch.setattr(Portrait, "picture", None)
        undrawn = play(None, stage, row, [0, 2], Console()).result
    assert undrawn == drawn and undrawn.missing == [0, 0]
