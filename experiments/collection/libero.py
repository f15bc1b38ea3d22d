"""LIBERO's demonstrations: successful ones alone, in LIBERO's own layout or a LeRobot dataset."""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import envs
from envs.libero.simulator import LiberoSimulator, Task, suite_tasks
from envs.libero.tasks import TRAINING_STATES
from envs.processes.parallel import ParallelEnvironments
from experiments.collection.episodes import DEMONSTRATION, record, settings
from experiments.collection.policy import Policy
from mummi.config import Config
from mummi.imitation.demonstrations import (
    INSTRUCTION,
    Demonstration,
    DemonstrationWriter,
    LeRobotWriter,
    Reading,
    Writer,
    open_data,
)
from mummi.modality import Modality
from mummi.training.stop import Stop

ROBOSUITE = 1
"""robomimic's number for robosuite's environments."""
RATE = 20
"""Control steps a second."""
ATTEMPTS = 20
"""Attempts at one demonstration, after which the command gives up."""
PICTURES = {"agentview_rgb": "agentview_rgb", "eye_in_hand_rgb": "wrist_rgb"}
"""LIBERO's name of a camera's pictures to this package's."""
ACTIONS = 7
"""Numbers of an action."""
STATES = {"gripper_states": 2, "joint_states": 7, "ee_states": 6, "ee_pos": 3, "ee_ori": 3}
"""LIBERO's other observations and their sizes."""

Play = Callable[[Task, int], list[Demonstration]]
"""Gives a demonstration of a task by its number, and none when it was stopped."""


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

        def play(task: Task, number: int) -> list[Demonstration]:
            return succeed(name(task), number, env_args, attempt, arguments.missing)

        place = into_dataset if arguments.format == "lerobot" else into_files
        place(arguments, config, env_args, play, stop)


def into_files(
    arguments, config: Config, env_args: Mapping[str, Any], play: Play, stop: Stop
) -> None:
    """Records each task into a file of LIBERO's own layout.

    Args:
        arguments, config: as of ``collect``.
        env_args: what the demonstrations are made with.
        play: gives a demonstration of a task by its number.
        stop: where its ``requested`` is true, the rest is left.

    Raises:
        ValueError: as ``collect``; a camera is not among the sensors.
    """
    sensors = config.env.get("sensors", tuple(PICTURES.values()))
    if lacking := [camera for camera in PICTURES.values() if camera not in sensors]:
        raise ValueError(
            f"--env.sensors lacks {lacking[0]}, which LIBERO's own layout holds; add it, or choose "
            "--format lerobot"
        )
    size = config.image_size
    sensors = [Modality(n, "vector", (width,)) for n, width in STATES.items()]
    sensors += [Modality(n, "image", (size, size, 3)) for n in PICTURES]
    for task, path in files(config.task, arguments.out).items():
        said = {**env_args, "problem_name": task.problem, "env_name": name(task)}
        simulator = LiberoSimulator(task)
        with DemonstrationWriter(path, sensors, ACTIONS, said, attributes(task)) as writer:
            for _, made in successes((task,), writer, arguments.episodes, play, stop):
                writer.append(official(made, simulator))
        conclude(path, stop)


def into_dataset(
    arguments, config: Config, env_args: Mapping[str, Any], play: Play, stop: Stop
) -> None:
    """Records the tasks in turn into one LeRobot dataset; arguments as of ``into_files``.

    It has the sensors of the environment; the instruction is the task of each episode.
    """
    tasks = named(config.task)
    stored = {"fps": RATE / config.action_repeat} | arguments.stored
    environment = envs.make(name(tasks[0]), **env_args["env_kwargs"])
    sensors = [m for m in environment.modalities if m.name != INSTRUCTION]
    environment.close()
    said = {**env_args, "env_name": config.task}
    with LeRobotWriter(arguments.out, sensors, ACTIONS, said, **stored) as writer:
        for task, made in successes(tasks, writer, arguments.episodes, play, stop):
            values = {m.name: made.values[m.name] for m in sensors}
            told = {**made.attributes, INSTRUCTION: task.instruction}
            writer.append(made._replace(values=values, attributes=told))
    conclude(arguments.out, stop)


def conclude(path: str | pathlib.Path, stop: Stop) -> None:
    """Prints what was recorded.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    if stop.requested:
        raise KeyboardInterrupt(f"stopped in {path}; the same command goes on")
    print(summary(path))


def name(task: Task) -> str:
    """A task's name on the command line."""
    return f"{task.suite}/{task.index}"


def named(name: str) -> tuple[Task, ...]:
    """The tasks that a task's or a suite's name stands for."""
    suite, _, index = name.partition("/")
    return suite_tasks(suite)[int(index) :][:1] if index else suite_tasks(suite)


def files(name: str, out: str) -> dict[Task, pathlib.Path]:
    """The tasks that a task's or a suite's name stands for, and the file of each.

    Raises:
        ValueError: a suite is to go into one file: LIBERO has one file a task, in a folder.
    """
    tasks, path = named(name), pathlib.Path(out)
    if len(tasks) == 1:
        return {tasks[0]: path}
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


def successes(
    tasks: Sequence[Task],
    writer: Writer,
    episodes: int,
    play: Play,
    stop: Stop,
) -> Iterator[tuple[Task, Demonstration]]:
    """The demonstrations that a writer lacks, each to be appended, and a line for each.

    Args:
        tasks: which take turns.
        writer: counts what there is.
        episodes: demonstrations of each task that there are to be.
        play, stop: as of ``into_files``.
    """
    while (count := len(writer)) < episodes * len(tasks) and not stop.requested:
        number, turn = divmod(count, len(tasks))
        task = tasks[turn]
        for made in play(task, number):
            yield task, made
            print(
                f"{name(task)} demonstration {number + 1}/{episodes}: {len(made.actions)} steps, "
                f"attempt {made.attributes['attempts']}",
                flush=True,
            )


def succeed(
    task: str, number: int, env_args: Mapping[str, Any], attempt, missing: str = "none"
) -> list[Demonstration]:
    """Attempts demonstration ``number`` until it succeeds; none when it was stopped.

    It starts from the official initial state 25 + ``number`` modulo 25, of those that evaluation
    does not use.

    Args:
        task: its name.
        number: of the demonstration.
        env_args: what it is made with, ``env_kwargs`` and ``seed`` among it.
        attempt: plays one episode of an environment, by a seed; no episode when it was stopped.
        missing: script of failing sensors.

    Raises:
        RuntimeError: no attempt succeeds.
    """
    state = TRAINING_STATES[number % len(TRAINING_STATES)]
    start = {"processes": False, "initial_state": state, "missing": missing}
    for count in range(ATTEMPTS):
        seed = env_args["seed"], DEMONSTRATION, number, count
        with ParallelEnvironments(task, [seed], **env_args["env_kwargs"], **start) as pool:
            made = attempt(pool, seed)
        if not made or made[0].attributes["success"]:
            tried = {"attempts": count + 1}
            return [one._replace(attributes=one.attributes | tried) for one in made]
    raise RuntimeError(
        f"{ATTEMPTS} attempts at {task} from initial state {state} failed; "
        "only successful demonstrations are recorded"
    )


def summary(path: str | pathlib.Path) -> str:
    """One line: what data hold, and from how many attempts."""
    with open_data(path, Reading(obs=())) as data:
        found = [(len(made.actions), int(made.attributes["attempts"])) for made in data]
    steps, attempts = zip(*found, strict=True)
    return (
        f"{path}: {len(found)} demonstrations from {sum(attempts)} attempts, "
        f"steps {np.mean(steps):.4g} ± {np.std(steps):.2g}"
    )
