"""An expert for the control-suite tasks: sampling model predictive control on the simulator itself.

The planner knows the full physical state, rolls candidate plans out on copies of the environment's
own model in native threads, scores them by the task's own reward, and executes the first action.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from envs.rendering import renderer  # noqa: F401  isort: skip  (before mujoco: it chooses the backend)

import mujoco
from dm_control.utils.rewards import tolerance
from mujoco.rollout import Rollout
from scipy.interpolate import make_interp_spline

FULL_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)

# The constants of dm_control.suite's own rewards.
_STAND_HEIGHT = 1.2
_SPIN_VELOCITY = 15.0

Reward = Callable[[mujoco.MjModel, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Reward [...] of states: model, qpos [..., nq], qvel [..., nv], sensordata [..., nsensordata]."""


def full_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Time, positions, velocities and actuator activations, float64 [S]."""
    state = np.empty(mujoco.mj_stateSize(model, FULL_STATE))
    mujoco.mj_getState(model, data, state, FULL_STATE)
    return state


def walker_reward(model, qpos, qvel, sensordata, speed: float) -> np.ndarray:
    """The walker's reward for standing, times that for ``speed`` in m/s where it is not 0."""
    rootz, rooty = (model.joint(name).qposadr[0] for name in ("rootz", "rooty"))
    height = model.body("torso").pos[2] + qpos[..., rootz]
    bounds = (_STAND_HEIGHT, float("inf"))
    standing = tolerance(height, bounds=bounds, margin=_STAND_HEIGHT / 2)
    stand = (3 * standing + (1 + np.cos(qpos[..., rooty])) / 2) / 4
    if not speed:
        return stand
    velocity = sensordata[..., model.sensor("torso_subtreelinvel").adr[0]]
    bounds, shape = (speed, float("inf")), {"value_at_margin": 0.5, "sigmoid": "linear"}
    move = tolerance(velocity, bounds=bounds, margin=speed / 2, **shape)
    return stand * (5 * move + 1) / 6


def finger_reward(model, qpos, qvel, sensordata) -> np.ndarray:
    """1 where the spinner turns at 15 rad/s or faster, else 0."""
    spin = qvel[..., model.joint("hinge").dofadr[0]]
    return (spin <= -_SPIN_VELOCITY).astype(float)


def cup_reward(model, qpos, qvel, sensordata) -> np.ndarray:
    """1 where the whole ball is in the cup, else 0."""

    def position(body):
        joints = [model.joint(f"{body}_{axis}").qposadr[0] for axis in "xz"]
        return model.body(body).pos[[0, 2]] + qpos[..., joints]

    target = position("cup") + model.site("target").pos[[0, 2]]
    room = model.site("target").size[[0, 2]] - model.geom("ball").size[0]
    return (np.abs(target - position("ball")) < room).all(-1).astype(float)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the plans of one task are searched.

    Attributes:
        reward: of the states that a plan leads to.
        horizon: seconds that are planned.
        knots: of the cubic spline that the noise of a plan follows.
        samples: plans tried at each action.
        noise: standard deviation of the noise at a knot.
        fresh: share of the samples that are noise around zero, not around the last plan.
        temperature: of the weights by which plans are averaged, in units of return.
    """

    reward: Reward
    horizon: float = 0.6
    knots: int = 4
    samples: int = 24
    noise: float = 0.5
    fresh: float = 0.0
    temperature: float = 0.1


SETTINGS = {
    # To get up from the ground takes about a second; a shorter plan stays there.
    "walker_stand": Settings(partial(walker_reward, speed=0.0), horizon=1.0, knots=5),
    "walker_walk": Settings(partial(walker_reward, speed=1.0), horizon=1.0, knots=5),
    "walker_run": Settings(partial(walker_reward, speed=8.0), samples=48),
    "finger_spin": Settings(finger_reward, horizon=0.8, knots=12, samples=96, noise=1.0, fresh=0.2),
    "cup_catch": Settings(cup_reward, horizon=0.8, samples=48, fresh=0.2),
}


class PlanningExpert:
    """Plans by sampling, warm-started by the plan before (MPPI; Williams et al., 2017).

    Candidates are the last plan, moved on in time, plus noise along a cubic spline; the new plan is
    their average, weighted by exp(return / temperature).

    Args:
        model: the environment's model; it is read, not changed.
        settings: of the search.
        substeps: simulator steps of one control step, each of which is rewarded.
        action_repeat: control steps that an action lasts.
        seed: of the noise; int or sequence of ints.
        threads: native threads that share the samples; by default one a core. The plans do not
            depend on it.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        settings: Settings,
        *,
        substeps: int,
        action_repeat: int,
        seed=0,
        threads: int | None = None,
    ):
        threads = threads or len(os.sched_getaffinity(0))
        self._model, self._settings = model, settings
        self._substeps, self._repeat = substeps, action_repeat
        self._pool = Rollout(nthread=threads)
        self._data = [mujoco.MjData(model) for _ in range(threads)]
        control_step = substeps * model.opt.timestep
        self._length = max(1, round(settings.horizon / control_step / action_repeat))
        knots = np.linspace(0, 1, settings.knots)
        spline = make_interp_spline(knots, np.eye(settings.knots), k=min(3, settings.knots - 1))
        self._spline = spline(np.linspace(0, 1, self._length))
        self._action_seconds = control_step * action_repeat
        self.begin(seed)

    def begin(self, seed: int | Sequence[int] | np.random.SeedSequence) -> None:
        """Forgets the last plan; the noise follows from the seed anew."""
        self._random = np.random.default_rng(seed)
        self._plan, self._time = np.zeros((self._length, self._model.nu)), 0.0

    def __call__(self, data: mujoco.MjData) -> np.ndarray:
        """The action for the state in ``data``, [nu] in [-1, 1].

        The last plan is moved on by the time that has passed in the simulation; where time went
        back, an episode began, and it is forgotten.
        """
        passed = round((data.time - self._time) / self._action_seconds)
        rest = self._plan[passed:] if passed >= 0 else self._plan[:0]
        last = rest[-1:] if len(rest) else np.zeros((1, self._model.nu))
        self._plan = np.concatenate((rest, np.repeat(last, self._length - len(rest), 0)))
        self._time = data.time
        plans = self._sample()
        returns = self.rewards(data, plans).sum(1)
        weights = np.exp((returns - returns.max()) / self._settings.temperature)
        self._plan = np.tensordot(weights / weights.sum(), plans, 1)
        return self._plan[0]

    def rewards(self, data: mujoco.MjData, plans: np.ndarray) -> np.ndarray:
        """Reward of each control step of plans that start at the state in ``data``.

        Args:
            data: the state; it is not changed.
            plans: [N, T, nu], one action for every ``action_repeat`` control steps.

        Returns:
            [N, T * action_repeat].
        """
        model = self._model
        start = full_state(model, data)
        # Sensors lag: those of a state are computed by the simulator step that leaves it.
        controls = np.repeat(plans, self._repeat * self._substeps, 1)
        controls = np.concatenate((controls, controls[:, -1:]), 1)
        states, sensors = self._pool.rollout(
            model,
            self._data,
            np.tile(start, (len(plans), 1)),
            controls,
            initial_warmstart=np.tile(data.qacc_warmstart, (len(plans), 1)),
        )
        states = states[:, self._substeps - 1 : -1 : self._substeps]
        sensors = sensors[:, self._substeps :: self._substeps]
        qpos, qvel = states[..., 1 : 1 + model.nq], states[..., 1 + model.nq :][..., : model.nv]
        return self._settings.reward(model, qpos, qvel, sensors)

    def _sample(self) -> np.ndarray:
        """Plans [N, T, nu]; the first is the last plan itself."""
        settings = self._settings
        noise = self._random.standard_normal((settings.samples, settings.knots, self._model.nu))
        noise[0] = 0
        steps = settings.noise * np.einsum("tk,nka->nta", self._spline, noise)
        centre = np.broadcast_to(self._plan, steps.shape).copy()
        if fresh := round(settings.fresh * settings.samples):
            centre[-fresh:] = 0
        return np.clip(centre + steps, -1, 1)
