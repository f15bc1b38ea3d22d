"""MetaWorld's tasks with episodes that follow from a seed; physics, reward and success are its."""

import warnings

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP


class MetaworldSimulator:
    """One task of MetaWorld at 80 Hz, with its scripted expert.

    Args:
        name: of ``catalogue.TASKS``.
        horizon: control steps of an episode, at most.

    Attributes:
        model, data: the simulation.
        observation: MetaWorld's, float64 [39]: hand and object now and one step before, and the
            goal.
    """

    def __init__(self, name: str, horizon: int):
        self._original = ALL_V3_ENVIRONMENTS[f"{name}-v3"]()
        self._expert = ENV_POLICY_MAP[f"{name}-v3"]()
        self.model, self.data = self._original.model, self._original.data
        # As MetaWorld sets a task up, with the goal among the observations, which the expert
        # needs, but with start and goal drawn in each episode.
        self._original._set_task_called = True
        self._original._partially_observable = False
        del self._original.sawyer_observation_space
        self._original._freeze_rand_vec = False
        self._original.seeded_rand_vec = True
        self._original.max_path_length = horizon
        self._places = self.model.body_pos.copy(), self.model.site_pos.copy()

    def reset_to(self, seed: np.random.SeedSequence) -> None:
        """Begins the episode of a seed: start and goal are drawn from MetaWorld's ranges."""
        self._original.np_random = np.random.default_rng(seed)
        # MetaWorld moves bodies and goals in the model, and lets the hand move before it resets.
        self.model.body_pos[:], self.model.site_pos[:] = self._places
        mujoco.mj_resetData(self.model, self.data)
        self.observation, _ = self._original.reset()
        # MetaWorld puts the marks of goals in their places only after the first step.
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        for site, place in self._original._target_site_config:
            self._original._set_pos_site(site, place)

    def step(self, action: np.ndarray) -> tuple[float, bool]:
        """Takes one control step, 12.5 ms; MetaWorld's reward, 0 to 10, and whether it succeeds.

        ``action`` [4] in [-1, 1] moves where the hand is drawn to along the world's axes, 1 cm for
        1, and closes the gripper with up to the force that 1 stands for.
        """
        self.observation, reward, _, _, info = self._original.step(action)
        return float(reward), bool(info["success"])

    def expert_action(self) -> np.ndarray:
        """What MetaWorld's script does in the present state, float64 [4] in [-1, 1]."""
        with warnings.catch_warnings():
            # It warns wherever it goes beyond the limits, which cut it.
            warnings.simplefilter("ignore")
            action = self._expert.get_action(self.observation)
        return np.clip(action, -1, 1).astype(np.float64)

    @property
    def goal(self) -> np.ndarray:
        """Where the object, or the hand, is to be, [3], metres."""
        return self._original._target_pos.copy()
