"""LIBERO's demonstrations: successful ones alone, in files of LIBERO's own layout."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from envs.libero.simulator import LiberoSimulator, Task, suite_tasks
from envs.libero.tasks import TRAINING_STATES
from envs.processes.parallel import ParallelEnvironments
from experiments.collection.episodes import DEMONSTRATION, record, settings
from experiments.collection.policy import Policy
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration, DemonstrationWriter
from mummi.modality import Modality
from mummi.training.stop import Stop

ROBOSUITE = 1
"""robomimic's number for robosuite's environments."""
ATTEMPTS = 20
"""Attempts at one demonstration, after which the command gives up."""
PICTURES = {"agentview_rgb": "agentview_rgb", "eye_in_hand_rgb": "wrist_rgb"}
"""LIBERO's name of a camera's pictures to this package's."""
STATES = {"gripper_states": 2, "joint_states": 7, "ee_states": 6, "ee_pos": 3, "ee_ori": 3}
"""LIBERO's other observations and their sizes."""


def collect(arguments, config: Config) -> None:
    """Records a task or a suite of LIBERO.

    Args:
        arguments: those of experiments.collect; its ``episodes`` counts those of each task.
        config: settings of the environments.

    Raises:
        ValueError: a suite is to go into one file, several environments are asked for, or a file
            holds something else.
        RuntimeError: the policy fails again and again.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    policy = Policy(arguments.policy, config)
    if config.envs > 1:
        raise ValueError(
            f"--envs is {config.envs}; LIBERO is recorded by one environment a command: "
            "start a command for each task"
        )
    env_args = {"type": ROBOSUITE, "env_kwargs": settings(config), "policy": policy.label}
    env_args |= {**arguments.disturbance, "seed": config.seed}
    with Stop() as stop:

        def attempt(pool: ParallelEnvironments, seed: Sequence[int]) -> list[Demonstration]:
            random = [np.random.default_rng(seed)]
            noise = (arguments.noise, arguments.noise_steps)
            return record(pool, policy.actor(pool, random), random, *noise, stop, lambda: None)

        for task, path in files(config.task, arguments.out).items():
            collect_task(task, path, arguments, env_args, attempt, stop)
            if stop.requested:
                raise KeyboardInterrupt(f"stopped in {path}; the same command goes on")
            print(summary(path))


def files(name: str, out: str) -> dict[Task, pathlib.Path]:
    """The tasks that a task's or a suite's name stands for, and the file of each.

    Raises:
        ValueError: a suite is to go into one file: LIBERO has one file a task, in a folder.
    """
    suite, _, index = name.partition("/")
    tasks, path = suite_tasks(suite), pathlib.Path(out)
    if index:
        return {tasks[int(index)]: path}
    if path.suffix in (".hdf5", ".h5") or path.is_file():
        raise ValueError(
            f"--out {out!r} looks like a file; a suite is recorded into a folder, one file a task"
        )
    return {task: path / f"{task.name}_demo.hdf5" for task in tasks}


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


def official(made: Demonstration, simulator: LiberoSimulator) -> Demonstration:
    """A demonstration with LIBERO's observations: bottom row first, and the robot's states."""
    rows = {name: [] for name in STATES}
    for state in made.states:
        simulator.restore(state)
        pose = np.concatenate((simulator.hand[0], simulator.hand_axis_angle))
        rows["gripper_states"].append(simulator.fingers)
        rows["joint_states"].append(simulator.joints)
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


def collect_task(
    task: Task,
    path: pathlib.Path,
    arguments,
    env_args: Mapping[str, Any],
    attempt: Callable[[ParallelEnvironments, Sequence[int]], list[Demonstration]],
    stop: Stop,
) -> None:
    """Records what a file lacks, and prints a line for each demonstration.

    Demonstration n starts from the official initial state 25 + n modulo 25, of those that
    evaluation does not use, and is attempted until it succeeds.

    Args:
        task: the task.
        path: its file.
        arguments: those of experiments.collect: how many demonstrations the file is to hold, and
            which sensors fail.
        env_args: what the demonstrations are made with, which the file tells, ``env_kwargs`` and
            ``seed`` among it.
        attempt: plays one episode of an environment, by a seed; no episode when it was stopped.
        stop: where its ``requested`` is true, the rest is left.

    Raises:
        ValueError: the file holds something else.
        RuntimeError: no attempt succeeds.
    """
    size, name = env_args["env_kwargs"]["image_size"], f"{task.suite}/{task.index}"
    episodes = arguments.episodes
    sensors = [Modality(n, "vector", (width,)) for n, width in STATES.items()]
    sensors += [Modality(n, "image", (size, size, 3)) for n in PICTURES]
    env_args = {**env_args, "problem_name": task.problem, "env_name": name}
    simulator = LiberoSimulator(task)
    with DemonstrationWriter(path, sensors, 7, env_args, attributes(task)) as writer:
        while (number := len(writer)) < episodes and not stop.requested:
            for made in succeed(name, number, env_args, attempt, arguments.missing):
                writer.append(official(made, simulator))
                print(
                    f"{name} demonstration {number + 1}/{episodes}: {len(made.actions)} steps, "
                    f"attempt {made.attributes['attempts']}",
                    flush=True,
                )


def succeed(
    name: str, number: int, env_args: Mapping[str, Any], attempt, missing: str = "none"
) -> list[Demonstration]:
    """Attempts demonstration ``number`` until it succeeds; none when it was stopped.

    ``missing`` is the script of failing sensors.

    Raises:
        RuntimeError: no attempt succeeds.
    """
    state = TRAINING_STATES[number % len(TRAINING_STATES)]
    start = {"processes": False, "initial_state": state, "missing": missing}
    for count in range(ATTEMPTS):
        seed = env_args["seed"], DEMONSTRATION, number, count
        with ParallelEnvironments(name, [seed], **env_args["env_kwargs"], **start) as pool:
            made = attempt(pool, seed)
        if not made or made[0].attributes["success"]:
            tried = {"attempts": count + 1}
            return [one._replace(attributes=one.attributes | tried) for one in made]
    raise RuntimeError(
        f"{ATTEMPTS} attempts at {name} from initial state {state} failed; "
        "only successful demonstrations are recorded"
    )


def summary(path: pathlib.Path) -> str:
    """One line: what a file holds, and from how many attempts."""
    with h5py.File(path) as file:
        demos = [file["data"][name].attrs for name in file["data"]]
        steps = [demo["num_samples"] for demo in demos]
        attempts = sum(int(demo["attempts"]) for demo in demos)
    return (
        f"{path}: {len(demos)} demonstrations from {attempts} attempts, "
        f"steps {np.mean(steps):.4g} ± {np.std(steps):.2g}"
    )
