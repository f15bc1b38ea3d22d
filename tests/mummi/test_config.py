"""Settings: presets are complete, and every field is documented where it is declared."""

import dataclasses
import inspect
import re
import typing

import jax
import pytest

from envs import tasks
from mummi.agent import Agent
from mummi.config import BehaviorConfig, Config, ModelConfig, MPCConfig, Preset
from mummi.modality import Modality
from mummi.presets import PRESETS, preset

SECTIONS = [Config, ModelConfig, BehaviorConfig, MPCConfig]


def documented_attributes(kind) -> dict[str, str]:
    """What the Attributes section of a class docstring says of each name."""
    attributes = inspect.getdoc(kind).split("Attributes:\n")[1]
    return dict(re.findall(r"^    (\w+): (.+)$", attributes, re.MULTILINE))


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_setting_is_documented_in_the_order_of_its_declaration(kind):
    fields = [field.name for field in dataclasses.fields(kind)]
    sections = [name for name in ("model", "behavior", "mpc") if name in fields]
    documented = list(documented_attributes(kind))
    assert documented == [name for name in fields if name not in sections]


def test_the_presets_are_those_that_the_command_line_offers():
    assert tuple(PRESETS) == typing.get_args(Preset)


@pytest.mark.parametrize("task", [*tasks(), "dmc_walker_walk"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_complete_for_every_task(name, task):
    config = preset(name, task)
    assert (config.task, config.preset) == (task, name)
    image = config.model
    assert len(image.image_widths) == len(image.image_kernels) == len(image.image_strides)
    size = config.image_size
    for kernel, stride in zip(image.image_kernels, image.image_strides, strict=True):
        assert size >= kernel
        size = (size - kernel) // stride + 1
    assert config.batch_length >= 2
    assert config.mpc.elites <= config.mpc.samples
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


VECTORS = {"touch": 2, "vector": 4, "laser": 2, "x": 1, "y": 1, "proprio": 28, "force": 6}
EMBEDDINGS = {"embedding": 8, "instruction": 384}
TABLE = "workspace_rgb robot_rgb workspace_depth robot_depth proprio force"
SENSORS = {
    "walker_walk": "rgb depth touch",
    "table_wiping": TABLE,
    "libero_goal": "agentview_rgb wrist_rgb instruction proprio",
    "metaworld": "corner_rgb wrist_rgb corner_depth wrist_depth proprio instruction",
    "toy_laser_camera": "laser camera",
    "toy_x_y": "x y",
    "dummy": "image depth vector embedding",
}


def sensor(name: str, size: int) -> Modality:
    if name in VECTORS:
        return Modality(name, "vector", (VECTORS[name],))
    if name in EMBEDDINGS:
        return Modality(name, "embedding", (EMBEDDINGS[name],))
    kind = "depth" if name.endswith("depth") else "image"
    return Modality(name, kind, (size, size, 1 if kind == "depth" else 3))


@pytest.mark.parametrize("task", SENSORS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_starts_with_the_sensors_of_every_task(name, task):
    config = preset(name, task)
    modalities = tuple(sensor(n, config.image_size) for n in SENSORS[task].split())
    model = jax.eval_shape(Agent(config, modalities, 2).model.init, jax.random.PRNGKey(0))
    assert {f"sensor_{m.name}" for m in modalities} <= set(model)


@pytest.mark.parametrize("field", ["action_repeat", "time_unit"])
def test_steps_without_length_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0; it must be 1 or more"):
        Config(**{field: 0})


def test_fewer_episodes_than_none_are_refused():
    with pytest.raises(ValueError, match="evaluate_episodes is -1; 0 is for none"):
        Config(evaluate_episodes=-1)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(ValueError, match="unknown preset 'lapto'; presets are paper, published"):
        preset("lapto", "walker_walk")


def test_the_dmc_prefix_changes_no_setting_but_the_name():
    for name in PRESETS:
        plain, prefixed = preset(name, "walker_run"), preset(name, "dmc_walker_run")
        assert dataclasses.replace(prefixed, task="walker_run") == plain


def test_the_published_preset_is_the_public_code_where_it_differs():
    model = preset("published", "walker_walk").model
    assert (model.fusion, model.nce, model.prediction) == ("published", "published", "relu_layer")
    assert model.nce_weights == {"vector": 0.001}
    assert not model.sample_fused and not model.fused_prior


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b", "vector", (2,)), "modality name 'a b' must be a Python identifier"),
        (("rgb", "image", (8, 8)), r"shape \(8, 8\); it needs 3 positive sizes"),
        (("touch", "vector", (0,)), "it needs 1 positive sizes"),
        (("depth", "depth", (8, 8, 3)), r"it needs \(H, W, 1\)"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Modality(*arguments)
