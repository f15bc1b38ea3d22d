"""LIBERO's demonstrations, in files of LIBERO's own layout."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from envs.libero.simulator import LiberoSimulator, Task, suite_tasks
from envs.libero.tasks import TRAINING_STATES
from experiments.collection.episodes import ROBOSUITE
from experiments.collection.successes import Target, folder
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration
from mummi.modality import Modality

PICTURES = {"agentview_rgb": "agentview_rgb", "eye_in_hand_rgb": "wrist_rgb"}
"""LIBERO's name of a camera's pictures to this package's."""
ACTIONS = 7
"""Numbers of an action."""
STATES = {"gripper_states": 2, "joint_states": 7, "ee_states": 6, "ee_pos": 3, "ee_ori": 3}
"""LIBERO's other observations and their sizes."""

RATE = 20
"""Control steps a second."""


def targets(config: Config, arguments) -> Iterator[Target]:
    """What is recorded of a task or a suite.

    Demonstration n starts from the official initial state 25 + n modulo 25, of those that
    evaluation does not use.

    Raises:
        ValueError: a suite is to go into one file, or a file lacks one of LIBERO's cameras.
    """
    if arguments.format != "lerobot":
        _require_cameras(config)
    sensors = [Modality(name, "vector", (width,)) for name, width in STATES.items()]
    sensors += [Modality(name, "image", (config.image_size,) * 2 + (3,)) for name in PICTURES]
    for task, path in files(config.task, arguments.out).items():
        name = f"{task.suite}/{task.index}"
        simulator = functools.cache(functools.partial(LiberoSimulator, task))
        yield Target(
            task=name,
            instruction=task.instruction,
            rate=RATE,
            path=path,
            modalities=sensors,
            action_size=ACTIONS,
            env_args={"type": ROBOSUITE, "problem_name": task.problem, "env_name": name},
            attributes=attributes(task),
            start=_start,
            written=functools.partial(official, simulator=simulator),
        )


def _require_cameras(config: Config) -> None:
    sensors = config.env.get("sensors", tuple(PICTURES.values()))
    if lacking := [camera for camera in PICTURES.values() if camera not in sensors]:
        raise ValueError(
            f"--env.sensors lacks {lacking[0]}, which LIBERO's own layout holds; add it, or choose "
            "--format lerobot"
        )


def _start(number):
    return {"initial_state": TRAINING_STATES[number % len(TRAINING_STATES)]}


def files(name: str, out: str) -> dict[Task, pathlib.Path]:
    """The tasks that a task's or a suite's name stands for, and the file of each.

    Raises:
        ValueError: a suite is to go into one file: LIBERO has one file a task, in a folder.
    """
    suite, _, index = name.partition("/")
    tasks = suite_tasks(suite)
    if index:
        return {tasks[int(index)]: pathlib.Path(out)}
    return {task: folder(out) / f"{task.name}_demo.hdf5" for task in tasks}


def attributes(task: Task) -> dict[str, Any]:
    """What LIBERO's files say about their task."""
    problem = {
        "problem_name": task.problem,
        "domain_name": "robosuite",
        "language_instruction": task.instruction,
    }
    return {
        "env_name": "_".join(word.capitalize() for word in task.problem.split("_")),
        "problem_info": problem,
        "macros_image_convention": "opengl",
        "bddl_file_name": f"libero/libero/bddl_files/{task.suite}/{task.bddl.name}",
        "bddl_file_content": task.bddl.read_text(),
    }


def official(made: Demonstration, simulator: Callable[[], LiberoSimulator]) -> Demonstration:
    """A demonstration with LIBERO's observations: bottom row first, and the robot's states."""
    rows = {name: [] for name in STATES}
    shown = simulator()
    for state in made.states:
        shown.restore(state)
        pose = np.concatenate((shown.hand[0], shown.hand_axis_angle))
        rows["gripper_states"].append(shown.fingers)
        rows["joint_states"].append(shown.joints)
        rows["ee_states"].append(pose)
        rows["ee_pos"].append(pose[:3])
        rows["ee_ori"].append(pose[3:])
    values = {name: np.array(values, np.float32) for name, values in rows.items()}
    values |= {name: made.values[ours][:, ::-1] for name, ours in PICTURES.items()}
    return made._replace(
        values=values,
        attributes=made.attributes | {"init_state": made.states[0]},
        available={name: made.availability(ours) for name, ours in PICTURES.items()}
        | dict.fromkeys(STATES, made.availability("proprio")),
    )
