"""A scripted arm that wipes the table with full knowledge of the state."""

import dataclasses

import numpy as np

# What an action of 1 stands for in OSC_POSE, metres and radians.
_METRES, _RADIANS = 0.05, 0.5
# What an action of -1 along the vertical presses with on the table, measured.
_NEWTONS = 135.0
_CONTACT = 5.0
"""Force that shows contact, newtons."""
_BAND, _PIECE = 0.03, 0.05
"""How far from the outermost dirt other dirt counts as outermost, and a piece reaches, metres."""


@dataclasses.dataclass(frozen=True)
class WipingState:
    """What no sensor shows, for the scripted expert; world coordinates and metres.

    Attributes:
        tool: centre of the tool's underside, [3].
        rotation: columns are the tool's axes, [3, 3]; its third axis points to the table.
        force: newtons that the tool is pressed with.
        dirt: what is left of it, [N, 3].
    """

    tool: np.ndarray
    rotation: np.ndarray
    force: float
    dirt: np.ndarray


class WipingExpert:
    """Presses the tool flat on the table and wipes from the arm's right to its left.

    It drags the tool to the outermost dirt on the right, of several pieces there to the nearest.
    Where that is a picture tells. Which dirt is the nearest of all it does not: a tool on a line of
    dirt has some on either side, and a hair decides.

    Each action follows from the present state alone, so one expert serves any number of
    episodes.

    Args:
        environment: the task itself, not a wrapper of it; its method ``state`` gives a
            ``WipingState``.
        newtons: force that the tool is pressed with.
        cautious: largest action along the table, in [0, 1].
    """

    def __init__(self, environment, *, newtons: float = 25.0, cautious: float = 0.7):
        self._environment = environment
        self._newtons, self._cautious = newtons, cautious

    def __call__(self, step=None) -> np.ndarray:
        """The action for the environment's present state, [6] in [-1, 1]; 0 on a clean table.

        ``step`` makes the expert a policy like others; what it shows is not looked at.
        """
        state = self._environment.state()
        action = np.zeros(6)
        if not len(state.dirt):
            return action
        target = self._target(state.dirt, state.tool) - state.tool
        along = target[:2] / _METRES
        action[:2] = along / max(1.0, np.linalg.norm(along) / self._cautious)
        # Full pressure only once the tool rests on the table, so that it touches down gently.
        newtons = self._newtons if state.force > _CONTACT else _CONTACT
        action[2] = target[2] / _METRES - newtons / _NEWTONS
        # The rotation that turns the tool's third axis downwards, about a horizontal axis.
        turn = np.cross(state.rotation[:, 2], (0.0, 0.0, -1.0))
        action[3:] = turn / _RADIANS
        return np.clip(action, -1, 1)

    @staticmethod
    def _target(dirt: np.ndarray, tool: np.ndarray) -> np.ndarray:
        """Centre of the piece of the outermost dirt that is nearest to the tool, [3]."""
        outermost = dirt[dirt[:, 1] < dirt[:, 1].min() + _BAND]
        nearest = outermost[np.argmin(np.linalg.norm((outermost - tool)[:, :2], axis=1))]
        return outermost[np.linalg.norm(outermost - nearest, axis=1) < _PIECE].mean(0)
