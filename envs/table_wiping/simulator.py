"""robosuite's Wipe with the Panda, without its rendering and without its side effects."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from envs.robosuite import (
    PANDA,
    LeanStep,
    global_numpy_random,
    load_controller_config,
    quiet_import,
)

with quiet_import():
    from robosuite.environments.manipulation.wipe import DEFAULT_WIPE_CONFIG, Wipe

TABLE_TEXTURE = "textable"
"""The texture that robosuite keeps for randomisation; here it has 64 pixels a side, not 512."""
WIPING_HEIGHT = 0.02
"""Distance between the tool's underside and dirt, metres, below which robosuite wipes it."""
JOINT_MARGIN = 0.1
"""Distance from the limit of a joint, radians, that counts as reaching it."""


class TableSimulator(LeanStep, Wipe):
    """robosuite 1.4.0's Wipe, 20 Hz, Panda, OSC_POSE, reset without compiling the model again.

    Physics, dirt, reward and its scale are robosuite's own. The caller decides when an episode
    ends.

    Args:
        horizon: control steps of an episode, which robosuite's reward scale depends on.
        reward_shaping: robosuite's dense reward; False leaves only what a clean table earns.
        seed: what the compiled model is drawn from; every ``reset`` draws anew.
    """

    def __init__(self, horizon: int, reward_shaping: bool, seed: np.random.SeedSequence):
        with global_numpy_random(seed):
            super().__init__(
                controller_configs=load_controller_config(default_controller="OSC_POSE"),
                horizon=horizon,
                reward_shaping=reward_shaping,
                use_object_obs=False,
                task_config=DEFAULT_WIPE_CONFIG | {"early_terminations": False},
                **PANDA,
            )
        self.mujoco_model, self.mujoco_data = self.sim.model._model, self.sim.data._data
        robot = self.robots[0]
        self._joints = np.array(robot._ref_joint_pos_indexes)
        # robosuite's own prints a line at every step on which a limit is near.
        robot.check_q_limits = self._near_joint_limit
        names = [marker.root_body for marker in self.model.mujoco_arena.markers]
        self._marker_bodies = np.array([self.mujoco_model.body(name).id for name in names])
        self._marker_index = {marker: i for i, marker in enumerate(self.model.mujoco_arena.markers)}
        corners = robot.gripper.important_geoms["corners"]
        self._corners = np.array([self.mujoco_model.geom(name).id for name in corners])

    def reset_to(self, seed: np.random.SeedSequence) -> dict[str, np.ndarray]:
        """Starts an episode whose dirt and start pose follow from the seed; robosuite's values."""
        with global_numpy_random(seed):
            return self.reset()

    @property
    def wiped(self) -> float:
        """Proportion of the dirt that is wiped, in [0, 1]."""
        return len(self.wiped_markers) / self.num_markers

    @property
    def over(self) -> bool:
        """The arm touched something, a joint is at its limit, or the table is clean."""
        return self._check_terminated()

    @property
    def table_top(self) -> np.ndarray:
        """Centre of the table's surface in world coordinates, [3], metres."""
        return self.table_offset

    @property
    def joints(self) -> np.ndarray:
        """Joint angles of the arm, [7], radians."""
        return self.mujoco_data.qpos[self._joints]

    @property
    def tool(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre of the tool's underside [3], metres; rotation [3, 3]; velocity [3], m/s."""
        site = self.robots[0].eef_site_id
        rotation = self.mujoco_data.site_xmat[site].reshape(3, 3)
        velocity = self.sim.data.get_site_xvelp(self.robots[0].gripper.important_sites["grip_site"])
        return self.mujoco_data.site_xpos[site].copy(), rotation.copy(), velocity

    @property
    def dirt(self) -> np.ndarray:
        """World coordinates of the dirt that is left, [N, 3], metres."""
        return self.mujoco_data.xpos[self._marker_bodies[self._left]]

    @property
    def _left(self) -> np.ndarray:
        """Which markers are not wiped, [N] bool."""
        left = np.ones(self.num_markers, bool)
        left[[self._marker_index[marker] for marker in self.wiped_markers]] = False
        return left

    @property
    def force_torque(self) -> np.ndarray:
        """What the wrist feels in the tool's frame: newtons [3] and newton metres [3]."""
        return np.concatenate((self.robots[0].ee_force, self.robots[0].ee_torque))

    def reward(self, action=None):
        """robosuite's own, which looks at every marker in turn; here at those by the tool alone."""
        arena, markers = self.model.mujoco_arena, self.model.mujoco_arena.markers
        corners = self.mujoco_data.geom_xpos[self._corners]
        centre = corners.mean(0)
        reach = np.linalg.norm(corners - centre, axis=1).max() + WIPING_HEIGHT
        distances = np.linalg.norm(self.mujoco_data.xpos[self._marker_bodies] - centre, axis=1)
        near = np.flatnonzero(self._left & (distances < reach))
        arena.markers = [markers[i] for i in near]
        try:
            return super().reward(action)
        finally:
            arena.markers = markers

    def _get_wipe_information(self):
        """Largest distance of dirt from its centre, that centre, and the way to it; robosuite's."""
        dirt = self.dirt
        if not len(dirt):
            return 0, np.zeros(3), np.zeros(3)
        centre = dirt.sum(0) / len(dirt)
        return np.linalg.norm(dirt - centre, axis=1).max(), centre, centre - self._eef_xpos

    def _near_joint_limit(self) -> bool:
        low, high = self.mujoco_model.jnt_range[self.robots[0]._ref_joint_indexes].T
        inside = (low + JOINT_MARGIN < self.joints) & (self.joints < high - JOINT_MARGIN)
        return not inside.all()

    def _initialize_sim(self, xml_string=None):
        self.set_xml_processor(_with_small_table_texture)
        super()._initialize_sim(xml_string)


def _with_small_table_texture(xml: str) -> str:
    root = ElementTree.fromstring(xml)
    texture = root.find(f"asset/texture[@name='{TABLE_TEXTURE}']")
    texture.attrib |= {"width": "64", "height": "64"}
    return ElementTree.tostring(root, encoding="unicode")
