"""Renders raw recordings of robosuite: python -m experiments.render --data R --out F."""

import contextlib
import dataclasses
import json
import pathlib
from typing import Any

import h5py
import numpy as np
import tyro
from rich.progress import track

from envs.recorded import RecordedScene
from experiments.collection.episodes import ROBOSUITE
from experiments.command_line import explain
from mummi.imitation.demonstrations import Demonstration, DemonstrationWriter
from mummi.imitation.demonstrations.groups import Groups, damage_told, numbered
from mummi.modality import Modality

CAMERAS = ("agentview", "robot0_eye_in_hand", "robot1_eye_in_hand")
PROPRIO = ("eef_pos", "eef_quat", "gripper_qpos")
"""What is rendered and told by default, as far as a recording has it."""
RATE = 20
"""Control steps a second that robosuite makes where nothing is said."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Renders the states of raw recordings of robosuite and writes them with observations.

    A raw recording (of collect_human_demonstrations.py, or one that robosuite's package carries)
    holds states and actions. Each state is set in the recorded model with the assets of the
    robosuite that is installed. The same command goes on after a kill.

    Attributes:
        data: the recording, an HDF5 file.
        out: the file to write, of this package's schema, which is robomimic's.
        cameras: names of cameras, each of which gives NAME_image; by default agentview and those
            on the hands.
        size: height and width of the pictures.
        depth: each camera also gives NAME_depth, in metres.
        proprio: what joints and hands tell; by default eef_pos, eef_quat and gripper_qpos of each
            arm, for example robot0_eef_pos.
    """

    data: str
    out: str
    cameras: tuple[str, ...] | None = None
    size: tuple[int, int] = (84, 84)
    depth: bool = False
    proprio: tuple[str, ...] | None = None


def render(arguments: Arguments) -> None:
    """Writes the demonstrations that the file lacks.

    Raises:
        FileNotFoundError: there is no recording.
        ValueError: it is none of robosuite or a damaged one, has no such camera, or the file holds
            something else.
    """
    if min(arguments.size) < 1:
        raise ValueError(f"--size {arguments.size} must be at least 1 pixel")
    path = pathlib.Path(arguments.data)
    groups = Groups(path, "data")
    with groups.file, damage_told(path), contextlib.ExitStack() as stack:
        names, env_args = recorded(groups)
        writer = None
        for number, name in enumerate(names):
            if writer is not None and number < len(writer):
                continue
            with RecordedScene(model(groups, name), arguments.size) as scene:
                sensors = chosen(scene, arguments)
                size = groups.dataset(name, "actions").shape[-1]
                if writer is None:
                    made = DemonstrationWriter(arguments.out, sensors, size, env_args)
                    writer = stack.enter_context(made)
                if number >= len(writer):
                    writer.append(played(groups, name, scene, sensors))
    print(f"{arguments.out}: {len(names)} demonstrations of {env_args['env_name']}")


def recorded(groups: Groups) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the recordings in a file, and what they were made with.

    Raises:
        ValueError: they are none of robosuite.
    """
    data = groups.file.get("data")
    names = numbered(data, "demo_") if isinstance(data, h5py.Group) else ()
    said = {} if not names else dict(data.attrs)
    environment = said.get("env")
    key = "env_args" if "env_args" in said else "env_info"
    try:
        told = dict(json.loads(said.get(key, "{}")))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{groups.path}: attribute {key!r} of 'data' is no JSON of a mapping ({error})"
        ) from error
    kwargs = told.get("env_kwargs", {k: v for k, v in told.items() if k != "env_name"})
    environment = told.get("env_name", environment)
    if not environment:
        raise ValueError(
            f"{groups.path}: no recording of robosuite, whose group 'data' tells env and holds "
            "demo_1, demo_2, … with states, actions and the attribute model_file"
        )
    kwargs = {"control_freq": RATE} | kwargs
    return names, {"env_name": environment, "type": ROBOSUITE, "env_kwargs": kwargs}


def model(groups: Groups, name: str) -> str:
    """The XML of a recording, which stands in the file or in ``models`` beside it."""
    found = groups.group(name).attrs.get("model_file")
    if found is None:
        raise groups.error(name, "model_file", "is missing", "an attribute with the model's XML")
    if found.lstrip().startswith("<"):
        return found
    beside = groups.path.parent / "models" / found
    if not beside.is_file():
        raise groups.error(name, "model_file", f"is {found!r}", f"XML, or the name of {beside}")
    return beside.read_text()


def chosen(scene: RecordedScene, arguments: Arguments) -> tuple[Modality, ...]:
    """The sensors that are asked for, or the usual ones that the scene has."""
    cameras, proprio = arguments.cameras, arguments.proprio
    if cameras is None:
        cameras = [name for name in CAMERAS if name in scene.cameras]
    if proprio is None:
        proprio = [name for name in scene.proprio if name.split("_", 1)[1] in PROPRIO]
    return scene.modalities(cameras, proprio, arguments.depth)


def played(
    groups: Groups, name: str, scene: RecordedScene, sensors: tuple[Modality, ...]
) -> Demonstration:
    """A recording with what the sensors tell at each of its states.

    Rewards are zero where it has none.
    """
    steps = len(groups.dataset(name, "actions"))
    actions = groups.numbers(name, "actions", (steps, groups.dataset(name, "actions").shape[-1]))
    states = groups.numbers(name, "states", (steps, scene.width), np.float64)
    rows = []
    for state in track(states, description=name):
        scene.set_state(state)
        rows.append(scene.observe(sensors))
    rewards = np.zeros(steps, np.float32)
    if "rewards" in groups.group(name):
        rewards = groups.numbers(name, "rewards", (steps,))
    return Demonstration(
        values={m.name: np.stack([row[m.name] for row in rows]) for m in sensors},
        actions=actions,
        rewards=rewards,
        dones=np.arange(steps) == steps - 1,
        states=states,
        attributes={"recorded_as": name},
    )


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and renders."""
    with explain():
        render(tyro.cli(Arguments, prog="python -m experiments.render", args=arguments))


if __name__ == "__main__":
    main()
