"""LIBERO's demonstrations: successful ones alone, in files of LIBERO's own layout."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from envs.libero.simulator import LiberoSimulator, Task, suite_tasks
from envs.libero.tasks import TRAINING_STATES
from envs.processes.parallel import ParallelEnvironments
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration, DemonstrationWriter
from mummi.modality import Modality
from mummi.training.stop import Stop

DEMONSTRATION = 2
"""Second entry of every seed here; training seeds have 0 there, evaluation seeds 1."""
ROBOSUITE = 1
"""robomimic's number for robosuite's environments."""
ATTEMPTS = 20
"""Attempts at one demonstration, after which the command gives up."""
PICTURES = {"agentview_rgb": "agentview_rgb", "eye_in_hand_rgb": "wrist_rgb"}
"""LIBERO's name of a camera's pictures to this package's."""
STATES = {"gripper_states": 2, "joint_states": 7, "ee_states": 6, "ee_pos": 3, "ee_ori": 3}
"""LIBERO's other observations and their sizes."""


def collect(arguments, config: Config, policy, record: Callable) -> None:
    """Records a task or a suite of LIBERO.

    Args:
        arguments: those of experiments.collect; its ``episodes`` counts those of each task.
        config: settings of the environments.
        policy: what acts, an experiments.collect.Policy.
        record: plays whole episodes, as experiments.collect does.

    Raises:
        ValueError: a suite is to go into one file, several environments are asked for, or a file
            holds something else.
        RuntimeError: the policy fails again and again.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    if config.envs > 1:
        raise ValueError(
            f"--envs is {config.envs}; LIBERO is recorded by one environment a command: "
            "start a command for each task"
        )
    settings = config.env | {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
    env_args = {"type": ROBOSUITE, "env_kwargs": settings, "policy": policy.label}
    env_args |= {**arguments.disturbance, "seed": config.seed}
    with Stop() as stop:

        def attempt(pool: ParallelEnvironments, seed: Sequence[int]) -> list[Demonstration]:
            random = [np.random.default_rng(seed)]
            actor = policy.actor(pool, random)
            return record(pool, actor, random, arguments, stop, lambda: None)

        for task, path in files(config.task, arguments.out).items():
            collect_task(task, path, arguments.episodes, env_args, attempt, stop)
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
    return made._replace(values=values, attributes=made.attributes | {"init_state": made.states[0]})


def collect_task(
    task: Task,
    path: pathlib.Path,
    episodes: int,
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
        episodes: demonstrations that the file is to hold.
        env_args: what the demonstrations are made with, which the file tells, ``env_kwargs`` and
            ``seed`` among it.
        attempt: plays one episode of an environment, by a seed; no episode when it was stopped.
        stop: where its ``requested`` is true, the rest is left.

    Raises:
        ValueError: the file holds something else.
        RuntimeError: no attempt succeeds.
    """
    name = f"{task.suite}/{task.index}"
    size, settings = env_args["env_kwargs"]["image_size"], env_args["env_kwargs"]
    sensors = [Modality(n, "vector", (width,)) for n, width in STATES.items()]
    sensors += [Modality(n, "image", (size, size, 3)) for n in PICTURES]
    env_args = {**env_args, "problem_name": task.problem, "env_name": name}
    said = attributes(task)
    simulator = LiberoSimulator(task)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(DemonstrationWriter(path, sensors, 7, env_args, said))
        while (number := len(writer)) < episodes and not stop.requested:
            state = TRAINING_STATES[number % len(TRAINING_STATES)]
            start = {"processes": False, "initial_state": state}
            for count in range(ATTEMPTS):
                seed = env_args["seed"], DEMONSTRATION, number, count
                with ParallelEnvironments(name, [seed], **settings, **start) as one:
                    made = attempt(one, seed)
                if not made or made[0].attributes["success"]:
                    break
            else:
                raise RuntimeError(
                    f"{ATTEMPTS} attempts at {name} from initial state {state} failed; "
                    "only successful demonstrations are recorded"
                )
            for demonstration in made:
                tried = demonstration.attributes | {"attempts": count + 1}
                writer.append(official(demonstration._replace(attributes=tried), simulator))
                print(
                    f"{name} demonstration {number + 1}/{episodes}: {len(demonstration.actions)} "
                    f"steps, attempt {count + 1}",
                    flush=True,
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
