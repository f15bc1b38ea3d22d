"""What the server says to a robot: the policy's metadata, then an action for each observation."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.serving.messages import pack, unpack
from mummi.modality import Modality
from mummi.policy import Policy
from mummi.runs.record import Run

RESET = "reset"
"""Key of an observation, beside the sensors', that starts a new episode."""
WIDEST = np.dtype(np.float64)
"""The widest dtype in which a sensor that is no image may be sent."""


def metadata(policy: Policy, run: Run, *, trust: bool, rate: float | None) -> dict[str, Any]:
    """The first message to a robot, before it is packed.

    Args:
        policy: who acts.
        run: what was trained.
        trust: whether sensors that lie are left out.
        rate: actions a second that the robot should ask for; None where it is not known.

    Raises:
        ValueError: a sensor has the name of the key ``reset``.
    """
    if RESET in (m.name for m in policy.modalities):
        raise ValueError(f"sensor {RESET!r} has the name that starts an episode in a message")
    return {
        "sensors": {
            m.name: {
                "kind": m.kind,
                "shape": m.shape,
                "dtype": m.dtype.name,
                "can_fail": m.can_fail,
            }
            for m in policy.modalities
        },
        "actions": {
            "shape": (1, policy.action_size),
            "dtype": "float32",
            "low": policy.limits[0].tolist(),
            "high": policy.limits[1].tolist(),
        },
        "instructions": list(policy.instructions),
        "rate": rate,
        "task": run.config.task,
        "method": run.config.method,
        "preset": run.config.preset,
        "step": policy.step,
        "trust": trust,
    }


def largest_message(modalities: Sequence[Modality]) -> int:
    """Bytes of the largest observation that makes sense, with room for keys."""
    sizes = (
        np.prod(m.shape, dtype=int) * (1 if m.kind == "image" else WIDEST.itemsize)
        for m in modalities
    )
    return int(sum(sizes)) + 1024 * (1 + len(modalities))


def warm_up(policy: Policy) -> None:
    """Compiles all that acting needs, on sensors that say nothing."""
    policy = policy.another()
    for _ in range(3):
        policy({m.name: np.zeros(m.shape, m.dtype) for m in policy.modalities})


class Conversation:
    """One robot's: its policy has a past of its own.

    Args:
        policy: acts; its past is left alone.
        trust: whether answers tell the trust in each sensor.

    Attributes:
        answered, refused: how many messages were.
    """

    def __init__(self, policy: Policy, *, trust: bool):
        self._policy = policy.another()
        self._trust = trust
        self.answered = self.refused = 0

    def answer(self, message: bytes | str, arrived: float) -> bytes | str:
        """The packed answer to an observation, or a sentence about what is wrong with it.

        A wrong message changes nothing: the next one goes on where the last right one was.

        Args:
            message: a packed dict with the value of each sensor that delivered, and perhaps
                ``reset``.
            arrived: when it did, of ``time.perf_counter``.
        """
        try:
            values, reset = observation(message, [m.name for m in self._policy.modalities])
            policy = self._policy.another() if reset else self._policy
            actions = policy(values)[None]
        except ValueError as error:
            self.refused += 1
            return f"{error!s:.400}"
        self._policy = policy
        self.answered += 1
        answer = {"actions": actions, "taken": policy.taken}
        if self._trust:
            answer["trust"] = policy.trust
        milliseconds = 1000 * (time.perf_counter() - arrived)
        return pack(answer | {"server_timing": {"infer_ms": milliseconds}})


def observation(
    message: bytes | str, sensors: Sequence[str]
) -> tuple[dict[str, np.ndarray | str], bool]:
    """The values of the sensors that delivered, or sentences, and whether an episode starts.

    Args:
        message: as it arrived.
        sensors: names of those that there are.

    Raises:
        ValueError: the message is text, not msgpack, no dict, or has what is no sensor or no array.
    """
    if isinstance(message, str):
        raise ValueError("the message is a text frame; send msgpack in a binary one")
    content = unpack(message)
    if not isinstance(content, dict):
        raise ValueError(f"the message is a {type(content).__name__}; send a dict of sensors")
    reset = content.pop(RESET, False)
    if not isinstance(reset, bool | np.bool_):
        raise ValueError(f"{RESET!r} is {reset!r:.40}; send True or False")
    for name, value in content.items():
        if name not in sensors:
            raise ValueError(f"unknown sensor {name!r:.40}; this policy has {', '.join(sensors)}")
        if not isinstance(value, np.ndarray | str | None):
            raise ValueError(f"sensor {name!r} is a {type(value).__name__}; send a NumPy array")
    return {name: value for name, value in content.items() if value is not None}, bool(reset)
