"""A trained agent to deploy: one robot, without its environment."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array

from mummi.agent import Agent, Parameters
from mummi.modality import Modality, is_finite
from mummi.model.trust import Thresholds
from mummi.runs.names import closest
from mummi.runs.parameters import load as load_parameters
from mummi.runs.record import load
from mummi.runs.thresholds import load as load_thresholds


@runtime_checkable
class Acting(Protocol):
    """What a ``Policy`` needs of an agent; methods as of ``Agent``. Carries have a ``verdict``."""

    modalities: tuple[Modality, ...]
    action_size: int

    def trusting(self, thresholds: Thresholds) -> "Acting": ...

    def start(self, batch: int): ...

    def act(self, params, carry, values, available, is_first, key: Array, explore: bool): ...


class Policy:
    """A trained agent for one robot, without its environment.

    Attributes:
        modalities: the sensors it was trained with.
        action_size: A, number of actions.
        limits: least and largest of each action, float32 [2, A]: -1 and 1, or of an action head
            whose demonstrations go beyond, in their units.
        rate: actions a second of the demonstrations without a simulator; None where not known.
        instructions: vectors [E] by the sentences that it learned from, which may be given in
            place of them; empty where there are none.
        step: of the checkpoint, in environment steps; where a head acts updates of its world model,
            or its own without one; None without a checkpoint.
    """

    def __init__(
        self,
        agent: Acting,
        parameters: Parameters | None,
        seed: int = 0,
        step: int | None = None,
    ):
        self.modalities = agent.modalities
        self.action_size = agent.action_size
        plain = np.array([[-1.0], [1.0]], np.float32) * np.ones(self.action_size, np.float32)
        self.limits, self.rate = getattr(agent, "limits", plain), getattr(agent, "rate", None)
        self.instructions: Mapping[str, np.ndarray] = getattr(agent, "instructions", {})
        self.step = step
        self._agent = agent
        self._parameters = parameters
        self._seed = seed
        self._key = jax.random.PRNGKey(seed)
        self._warned = set()
        self.reset()

    @classmethod
    def load(cls, logdir, *, seed: int = 0, trust: bool = False) -> "Policy":
        """The last checkpoint of a run.

        Args:
            logdir: folder of the run.
            seed: of what is drawn when acting.
            trust: leave out sensors that lie.

        Raises:
            FileNotFoundError: there is no run, or it has no checkpoint yet, or no thresholds.
            ValueError: trust in an agent whose sensors nothing can be held against.
        """
        run = load(logdir)
        agent = Agent(run.config, run.modalities, run.action_size)
        parameters, step = load_parameters(logdir, agent)
        if trust:
            agent = agent.trusting(load_thresholds(logdir, step, run.modalities, Thresholds))
        return cls(agent, parameters, seed, step)

    def another(self) -> "Policy":
        """A policy for another robot, with a past of its own.

        The parameters and what was compiled are shared, and it draws the same random numbers.
        """
        return Policy(self._agent, self._parameters, self._seed, self.step)

    def reset(self) -> None:
        """Forgets the past: call at the start of each episode."""
        self._carry = self._agent.start(1)
        self._first = True
        self._delivered: list[str] = []

    @property
    def taken(self) -> list[str]:
        """Names of the sensors that the last action followed: delivered, finite and trusted."""
        trust = self.trust
        return [name for name in self._delivered if trust[name] >= 0.5]

    @property
    def trust(self) -> dict[str, float]:
        """Trust in each sensor at the last step, in [0, 1]; below 1/2 it was left out.

        Without ``trust=True`` every sensor that delivers is believed: all are 1. So they are before
        the first step.
        """
        verdict = self._carry.verdict
        if verdict is None:
            return {m.name: 1.0 for m in self.modalities}
        rows = zip(self.modalities, np.asarray(verdict.trust[:, 0]), strict=True)
        return {m.name: float(trust) for m, trust in rows}

    def __call__(
        self, values: Mapping[str, np.ndarray | str], available: Mapping[str, bool] | None = None
    ) -> np.ndarray:
        """The action for this step.

        A value that holds NaN or an infinity counts as missing, with one warning a sensor.

        Args:
            values: one array a sensor that delivered, of the modality's shape and dtype; of an
                instruction also one of the sentences of ``instructions``.
            available: did each sensor deliver; by default the sensors in ``values`` did.

        Returns:
            float32 [action_size] in [-1, 1], or in the units of the demonstrations.

        Raises:
            ValueError: an unknown modality or sentence, a wrong shape or dtype, a value missing
                that is available, or what is told and cannot fail is left out or not finite.
        """
        names = [m.name for m in self.modalities]
        available = {name: name in values for name in names} if available is None else available
        for name in (*values, *available):
            if name not in names:
                raise ValueError(f"unknown modality {name!r}; this policy has {', '.join(names)}")
        batch, mask = {}, {}
        for m in self.modalities:
            claimed = bool(available.get(m.name, m.name in values))
            value, delivered = self._checked(m, values.get(m.name), claimed)
            if not delivered and not m.can_fail:
                known = f", one of {_some(self.instructions)}" if self.instructions else ""
                raise ValueError(f"{m.name!r} is told at every step and cannot be missing{known}")
            batch[m.name], mask[m.name] = value[None], np.array([delivered])
        action, self._carry = self._agent.act(
            self._parameters,
            self._carry,
            batch,
            mask,
            np.array([self._first]),
            self._key,
            explore=False,
        )
        self._first = False
        self._delivered = [name for name, delivered in mask.items() if delivered[0]]
        return np.asarray(action)[0]

    def _checked(self, m: Modality, value, available: bool) -> tuple[np.ndarray, bool]:
        """A sensor's value of its dtype, zeros where it is missing, and whether it delivered."""
        missing = np.zeros(m.shape, m.dtype)
        if value is None:
            if available:
                raise ValueError(f"modality {m.name!r} is said to be available without a value")
            return missing, False
        value = self._told(m, value) if isinstance(value, str) else np.asarray(value)
        if value.shape != m.shape:
            raise ValueError(f"modality {m.name!r} has shape {value.shape}, not {m.shape}")
        if not np.can_cast(value.dtype, m.dtype, "safe" if m.kind == "image" else "same_kind"):
            raise ValueError(f"modality {m.name!r} has dtype {value.dtype}, not {m.dtype}")
        if not available:
            return missing, False
        if not is_finite(m, value):
            if m.name not in self._warned:
                self._warned.add(m.name)
                warnings.warn(
                    f"modality {m.name!r} delivered NaN or an infinity, which counts as missing; "
                    "this is said once",
                    stacklevel=3,
                )
            return missing, False
        return value.astype(m.dtype), True

    def _told(self, m: Modality, sentence: str) -> np.ndarray:
        """The vector of a sentence."""
        if m.can_fail or not self.instructions:
            raise ValueError(f"modality {m.name!r} is text; it must be an array {m.shape}")
        if sentence not in self.instructions:
            near = closest(sentence, self.instructions)
            raise ValueError(
                f"unknown instruction {sentence!r:.60}{near}; this policy learned "
                f"{_some(self.instructions)}"
            )
        return self.instructions[sentence]


def _some(sentences: Iterable[str]) -> str:
    """The first ten sentences, and how many more there are."""
    quoted = [repr(sentence) for sentence in sentences]
    more = f" and {len(quoted) - 10} others" if len(quoted) > 10 else ""
    return ", ".join(quoted[:10]) + more
