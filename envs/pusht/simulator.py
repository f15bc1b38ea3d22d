"""gym-pusht's block and pusher, stepped without its rewards, so that one can also plan with it."""

import contextlib
import functools
import io
import warnings

import numpy as np
from shapely.geometry import Polygon
from shapely.ops import unary_union

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    from gym_pusht.envs.pusht import PushTEnv

SIDE = 512.0
"""Width and height of the table, in its units; the pictures of gym-pusht have as many pixels."""
RADIUS = 15.0
"""Of the pusher."""
SOLVED = 0.95
"""Share of the goal that the block has to cover."""
_PHYSICS_STEP, _PHYSICS_STEPS = 0.01, 10


class PushTSimulator:
    """gym-pusht 0.1.8's table with the same physics, starts and pictures."""

    def __init__(self):
        self._env = PushTEnv(obs_type="state")
        self._env.reset(seed=0)
        self._goal = self._env.get_goal_pose_body(self._env.goal_pose)

    def reset_to(self, seed: int) -> None:
        """Starts where gym-pusht does with a seed."""
        self._env.reset(seed=seed)

    def place(self, agent: np.ndarray, block: np.ndarray) -> None:
        """Puts the pusher [2] and the block, (x, y, radians), anywhere, at rest."""
        pusher, body = self._env.agent, self._env.block
        pusher.position, pusher.velocity = tuple(map(float, agent)), (0, 0)
        # The angle first: it turns the block about its centre of mass, not about its origin.
        body.angle, body.angular_velocity = float(block[2]), 0
        body.position, body.velocity = tuple(map(float, block[:2])), (0, 0)
        for moved in (pusher, body):
            self._env.space.reindex_shapes_for_body(moved)

    def step(self, target: np.ndarray) -> None:
        """Draws the pusher towards a target [2] for 0.1 s."""
        pusher, space = self._env.agent, self._env.space
        stiffness, damping = self._env.k_p, self._env.k_v
        goal_x, goal_y = map(float, target)
        for _ in range(_PHYSICS_STEPS):
            (x, y), (dx, dy) = pusher.position, pusher.velocity
            pusher.velocity = (
                dx + (stiffness * (goal_x - x) - damping * dx) * _PHYSICS_STEP,
                dy + (stiffness * (goal_y - y) - damping * dy) * _PHYSICS_STEP,
            )
            space.step(_PHYSICS_STEP)

    @property
    def agent(self) -> np.ndarray:
        """Where the pusher is, [2]."""
        return np.array(self._env.agent.position)

    @property
    def block(self) -> np.ndarray:
        """Where the block's origin is, in the middle of the top of the T, and its angle, [3]."""
        body = self._env.block
        return np.array((*body.position, body.angle))

    @property
    def keypoints(self) -> np.ndarray:
        """The corners of the T's two bars, [8, 2], in gym-pusht's order."""
        return self._env.get_keypoints(self._env._block_shapes)

    @functools.cached_property
    def goal(self) -> np.ndarray:
        """The same corners where the block is to be, [8, 2]."""
        return np.array([self._goal.local_to_world(v) for v in self._vertices])

    @functools.cached_property
    def outline(self) -> Polygon:
        """The T in the block's own frame, its corners against the clock where y points up."""
        bars = [Polygon(shape.get_vertices()) for shape in self._env._block_shapes]
        return unary_union(bars).simplify(0.1).normalize().reverse()

    @property
    def coverage(self) -> float:
        """Share of the goal that the block covers."""
        return float(self._env._get_coverage())

    def picture(self, size: int) -> np.ndarray:
        """The table as gym-pusht draws it, [size, size, 3] uint8."""
        return self._env._get_img(self._env._draw(), width=size, height=size)

    @property
    def _vertices(self):
        return [v for shape in self._env._block_shapes for v in shape.get_vertices()]
