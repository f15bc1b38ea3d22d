"""A trained action head, on a frozen world model or none, as an agent that only acts."""

import copy
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mummi.agent import Agent
from mummi.config import NO_SIMULATOR
from mummi.data.episode import load_episode
from mummi.imitation import record
from mummi.imitation.decisions import Decisions, Held
from mummi.imitation.heads.head import HEADS, Head, Sizes, Trajectory
from mummi.imitation.latents import Followed, Latents, View
from mummi.imitation.record import Imitation, Split, load_instructions, load_split
from mummi.imitation.scaling import Scaling
from mummi.imitation.scaling import load as load_scaling
from mummi.imitation.sensors import Nothing, RawSensors
from mummi.model.trust import Thresholds, Verdict
from mummi.model.world_model import WorldModel
from mummi.runs.parameters import load as load_parameters
from mummi.runs.record import Run
from mummi.runs.record import load as load_run
from mummi.runs.thresholds import load as load_thresholds

HEAD = "head.npz"
"""File of the trained head in the folder of an imitation run."""


class Carry(NamedTuple):
    """What acting remembers from step to step, for a batch of B robots.

    Attributes:
        followed: by the world model, if there is one.
        head: what the head remembers.
        held: the last actions as they are learned, zeros before the first step; and what speaks
            against those that were decided.
        count: steps that were taken.
    """

    followed: Followed | Nothing
    head: Any
    held: Held
    count: int

    @property
    def verdict(self) -> Verdict | None:
        """Whom it trusts, if it judges."""
        return self.followed.verdict


class Pilot:
    """Takes the place of an ``Agent`` wherever one acts.

    Args:
        latents: the world model, or the bare sensors of a head with encoders of its own.
        head: trained.
        scaling: of the data that they learned from, in whose units values come and actions go.
        rate: of the data.
        instructions: vectors by the sentences of the data.
        decisions: on two-valued actions.

    Attributes:
        modalities: the sensors, with their shapes in the data.
        action_size: A.
        limits: least and largest of each action, float32 [2, A].
        rate: actions a second of the data; None where it is not known.
        instructions: vectors [E] by the sentences of the data; empty where they are no sensor.
        head: the head.
        scaling: of the data.
        decisions: on two-valued actions, as they are learned.
    """

    def __init__(
        self,
        latents: Latents | RawSensors,
        head: Head,
        scaling: Scaling | None = None,
        rate: float | None = None,
        instructions: Mapping[str, np.ndarray] | None = None,
        decisions: Decisions | None = None,
    ):
        self.scaling = scaling or Scaling()
        self.modalities = self.scaling.given(latents.sizes.modalities)
        self.action_size = latents.sizes.action
        self.limits = self.scaling.acted(np.array([[-1.0], [1.0]]) * np.ones(self.action_size))
        self.rate, self.instructions = rate, instructions or {}
        self.head, self.decisions = head, decisions or Decisions()
        self._latents = latents

    def trusting(self, thresholds: Thresholds) -> "Pilot":
        """This pilot as one that leaves out sensors that lie; see ``Latents.trusting``."""
        pilot = copy.copy(self)
        pilot._latents = self._latents.trusting(thresholds)
        return pilot

    @property
    def world_model(self) -> tuple[WorldModel, dict]:
        """The world model whose latents the head reads, and its parameters.

        Raises:
            ValueError: the head has encoders of its own.
        """
        return self._latents.model, self._latents.params

    def encode(self, views: Sequence[View]) -> list[Trajectory]:
        """What the head sees along views of demonstrations as they are learned from."""
        return self._latents.encode(views)

    def start(self, batch: int) -> Carry:
        """What acting remembers before the first step of ``batch`` robots."""
        followed, head = self._latents.start(batch), self.head.reset(batch)
        held = self.decisions.start(batch, self.action_size)
        return Carry(followed=followed, head=head, held=held, count=0)

    def act(
        self,
        params: None,
        carry: Carry,
        values: Mapping[str, np.ndarray],
        available: Mapping[str, np.ndarray],
        is_first: np.ndarray,
        key: Array,
        explore: bool = False,
    ) -> tuple[np.ndarray, Carry]:
        """Chooses the next action of each of B robots; arguments are those of ``Agent.act``.

        Args:
            params: None, as the parameters are inside.
            carry: from ``start`` or the last call.
            values: by modality [B, *shape], in the units and sizes of the data; one that is not
                finite counts as not available.
            available: by modality bool [B].
            is_first: bool [B], an episode begins.
            key: JAX key of the whole rollout; each step draws from a key of its own.
            explore: without effect, nothing is explored.

        Returns:
            Actions float32 [B, A] within the limits of the data where these go beyond [-1, 1], else
            in [-1, 1]; and the new carry.
        """
        is_first = np.asarray(is_first)
        seen = (self.scaling.seen(values), available, carry.held.actions, is_first)
        percept, followed = self._latents.step(carry.followed, *seen)
        key = jax.random.fold_in(key, carry.count)
        action, head = self.head.act(carry.head, percept, is_first, key)
        action = np.clip(np.asarray(action, np.float32), -1, 1)
        held = self.decisions.decide(action, carry.held, is_first)
        return self.scaling.acted(held.actions), Carry(followed, head, held, carry.count + 1)


def load_pilot(logdir, *, trust: bool = False) -> tuple[Pilot, int]:
    """The trained head of an imitation run, and the updates of its world model.

    Those of a head with encoders of its own are the head's.

    Args:
        logdir: folder of the run.
        trust: leave out sensors that lie.

    Raises:
        FileNotFoundError: the folder is no imitation run, or its head is not trained yet, or it has
            no thresholds.
        ValueError: trust in a head without a world model, or in one whose sensors nothing can be
            held against.
    """
    imitation, run = record.load(logdir), load_run(logdir)
    path = pathlib.Path(logdir) / HEAD
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(logdir)!r} has no trained head yet; the same command of experiments.imitate "
            "goes on"
        )
    latents, step = _sees(logdir, imitation, run)
    split, scale = load_split(logdir), load_scaling(logdir)
    head = build_head(imitation, latents.sizes, split)
    head.restore(head_arrays(path))
    rate = split.rate if run.config.task == NO_SIMULATOR else None
    decisions = Decisions.learned(split.two_valued, imitation.hysteresis, scale, run.action_size)
    pilot = Pilot(latents, head, scale, rate, load_instructions(logdir), decisions)
    if trust:
        pilot = pilot.trusting(load_thresholds(logdir, step, run.modalities, Thresholds))
    return pilot, step


def _sees(logdir, imitation: Imitation, run: Run) -> tuple[Latents | RawSensors, int]:
    """What a run's head sees, and the updates that ``load_pilot`` tells."""
    if not imitation.reads_latents:
        return RawSensors(run.modalities, run.action_size), imitation.settings.updates
    agent = Agent(run.config, run.modalities, run.action_size)
    parameters, step = load_parameters(logdir, agent)
    return Latents(agent, parameters.model), step


def build_head(imitation: Imitation, sizes: Sizes, split: Split) -> Head:
    """The head of an imitation run, untrained.

    Raises:
        ValueError: settings that do not fit the two-valued actions.
    """
    sizes = sizes._replace(two_valued=tuple(split.two_valued))
    return HEADS[imitation.head].build(imitation.settings, sizes)


def head_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What the file of a trained head holds, numbers of half precision as float32.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        found = load_episode(path)
        return {n: x.astype(np.float32) if x.dtype == np.float16 else x for n, x in found.items()}
    except Exception as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it, and the same command of experiments.imitate "
            "trains the head anew"
        ) from error
