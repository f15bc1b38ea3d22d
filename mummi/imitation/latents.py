"""What action heads see: demonstrations and robots through the frozen world model."""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mummi.agent import Agent
from mummi.data.episode import Episode
from mummi.imitation.heads.head import Percept, Sizes, Trajectory
from mummi.modality import Modality, is_finite
from mummi.model.perception import Belief, Features
from mummi.model.rssm import State
from mummi.model.trust import Judge, Thresholds, Verdict


class Followed(NamedTuple):
    """What a filter remembers of B robots: latent states, and whom it trusts if it judges."""

    state: State
    verdict: Verdict | None


class View(NamedTuple):
    """A demonstration as its sensors delivered it, perhaps with some of them failing.

    Attributes:
        values: by modality [T, *shape]; anything where one is not available.
        available: by modality bool [T].
        actions: float32 [T, A], each taken after seeing the values of its step.
        rewards: float32 [T], what each action brought.
        wanted: float32 [T, A], what a head is to learn; other than ``actions`` where the
            demonstrator was disturbed.
    """

    values: Mapping[str, np.ndarray]
    available: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    wanted: np.ndarray

    def episode(self) -> Episode:
        """The view in the layout of the replay, where an action stands at the step it led to.

        What the last action led to was not recorded: there is no step at which it or its reward
        could stand, and a blank one would need a copy of all values. So they are left out, of the
        last action all but that it was wanted, and nothing is said to end the task. No head reads
        rewards, and whatever does refuses a world model that learned from demonstrations alone.
        """
        length = len(self.actions)
        step = np.arange(length)
        return {
            **{f"values/{name}": value for name, value in self.values.items()},
            **{f"available/{name}": mask for name, mask in self.available.items()},
            "action": _later(self.actions),
            "wanted": np.asarray(self.wanted, np.float32),
            "reward": _later(self.rewards),
            "is_first": step == 0,
            "is_last": step == length - 1,
            "is_terminal": np.zeros(length, bool),
        }


def usable(
    modalities: Sequence[Modality],
    values: Mapping[str, Array | np.ndarray],
    available: Mapping[str, Array | np.ndarray],
) -> dict[str, np.ndarray]:
    """Which sensors say something: those that are available and whose value is finite.

    Args:
        modalities: the sensors.
        values: by modality [*lead, *shape].
        available: by modality bool [*lead].

    Returns:
        By modality bool [*lead].
    """
    return {m.name: np.asarray(available[m.name]) & is_finite(m, values[m.name])
            for m in modalities}  # fmt: skip


def deliverable(view: View, modalities: Sequence[Modality]) -> View:
    """The view in which a sensor is available where it is ``usable``."""
    return view._replace(available=usable(modalities, view.values, view.available))


def trajectory(feature: np.ndarray, embeddings: Mapping[str, np.ndarray], view: View) -> Trajectory:
    """A view with latents [T, F] and embeddings [T, E_m] as a head sees it."""
    percept = Percept(feature, embeddings, view.values, view.available)
    wanted, executed = (np.asarray(x, np.float32) for x in (view.wanted, view.actions))
    return Trajectory(percept, wanted, executed)


def _later(rows: np.ndarray) -> np.ndarray:
    """The rows one step later, after zeros."""
    return np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
    """The rows and zeros after them, ``length`` in all."""
    return np.pad(rows, ((0, length - len(rows)), *((0, 0),) * (rows.ndim - 1)))


class Latents:
    """The world model of an agent as a deterministic filter: means in place of samples.

    The feature of a percept is z = [h, s^c, s^f] (MuMMI, section III). Actor and critic read h and
    s^c, which imagination has; a head never imagines, and s^f tells what the sensors show now
    without the bottleneck of s^c.

    Args:
        agent: its sizes and networks.
        model: parameters of its world model.

    Attributes:
        model, params: the world model and these parameters.
        sizes: what a head reads.
    """

    def __init__(self, agent: Agent, model: dict):
        c = agent.config.model
        embeddings = {m.name: c.fused for m in agent.modalities}
        size = c.deter + c.stoch + agent.model.perception.size
        self.sizes = Sizes(agent.modalities, size, embeddings, agent.action_size)
        self.model, self.params = agent.model, model
        self._step = jax.jit(self._filter)
        self._judge: Judge | None = None
        self._thresholds: Thresholds | None = None
        self._sense = {
            m.name: jax.jit(functools.partial(self._expert, m)) for m in agent.modalities
        }
        self._scan = jax.jit(self._filter_all)

    def trusting(self, thresholds: Thresholds) -> "Latents":
        """These latents, with sensors that lie left out.

        Args:
            thresholds: of the world model's parameters.

        Raises:
            ValueError: as ``Judge``.
        """
        latents = copy.copy(self)
        latents._judge = Judge(self.model)
        latents._thresholds = jax.tree.map(jnp.asarray, thresholds)
        latents._step = jax.jit(latents._filter)
        return latents

    def start(self, batch: int) -> Followed:
        """What is remembered before the first step of ``batch`` robots."""
        verdict = self._judge and self._judge.start(batch)
        return Followed(self.model.rssm.initial(batch), verdict)

    def step(
        self,
        followed: Followed,
        values: Mapping[str, Array | np.ndarray],
        available: Mapping[str, Array | np.ndarray],
        action: Array | np.ndarray,
        is_first: Array | np.ndarray,
    ) -> tuple[Percept, Followed]:
        """The percept [B] of one step, in which a sensor is available if it is trusted, too.

        Args:
            followed: from the last call, or ``start``.
            values: by modality [B, *shape]; anything where it is not available. One that is not
                finite counts as not available.
            available: by modality bool [B].
            action: [B, A], what each robot did after the last step.
            is_first: bool [B], forgets the past of a robot.
        """
        available = usable(self.sizes.modalities, values, available)
        inputs = (dict(values), available, action, is_first)
        feature, embeddings, mask, followed = self._step(self.params, followed, *inputs)
        if self._judge is not None:
            rows = zip(self.sizes.modalities, np.asarray(mask), strict=True)
            available = {m.name: row for m, row in rows}
        return Percept(feature, embeddings, values, available), followed

    def encode(self, views: Sequence[View]) -> list[Trajectory]:
        """What ``step`` gives along each view, with the actions that were wanted.

        Raises:
            ValueError: there are no views.
        """
        if not views:
            raise ValueError("there are no demonstrations to encode")
        # One length, so that one program serves all; what lies beyond an end is cut off again.
        longest = max(len(view.actions) for view in views)
        trajectories, sensed = [], {}
        for view in views:
            view = deliverable(view, self.sizes.modalities)
            # Views of one demonstration that differ in availability alone share their values.
            for name, values in view.values.items():
                if name not in sensed or sensed[name][0] is not values:
                    sensed[name] = values, self._sense[name](self.params, _pad(values, longest))
            experts = [sensed[m.name][1] for m in self.sizes.modalities]
            trajectories.append(self._encode(view, experts, longest))
        return trajectories

    def _encode(self, view: View, experts, longest: int) -> Trajectory:
        length = len(view.actions)
        inputs = (view.available, _later(view.actions))
        inputs = jax.tree.map(lambda x: _pad(x, longest), inputs)
        feature, embeddings = jax.device_get(self._scan(self.params, experts, *inputs))
        embeddings = {name: x[:length] for name, x in embeddings.items()}
        return trajectory(feature[:length], embeddings, view)

    def _expert(self, modality: Modality, params, value):
        """What a sensor says of values [N, *shape], and what it says of a missing value."""
        blank = jnp.zeros((1, *modality.shape), modality.dtype)
        sense = self.model.perception.sense
        return sense(params, modality, value), sense(params, modality, blank)

    def _fuse(self, experts, available) -> Belief | Features:
        """What ``WorldModel.perceive`` says of the values that the experts are of."""
        there = jnp.stack([available[m.name] for m in self.sizes.modalities])
        said = [
            jax.tree.map(functools.partial(jnp.where, seen[..., None]), value, blank)
            for seen, (value, blank) in zip(there, experts, strict=True)
        ]
        return self.model.perception.fuse(said, there, None)

    def _evidence(self, belief: Belief | Features):
        """Evidence for the posterior, whether there is none, the mean of s^f, and embeddings."""
        evidence = self.model.perception.evidence(belief)
        embeddings = {
            m.name: jnp.where(seen[..., None], mean, 0.0)
            for m, seen, mean in zip(
                self.sizes.modalities, belief.available, belief.means, strict=True
            )
        }
        return *evidence, belief.mean, embeddings

    def _move(self, params, state, action, is_first, evidence, blind) -> State:
        inputs = (state, action, is_first, evidence, blind, None)
        return self.model.rssm.observe_step(params["rssm"], *inputs)[1]

    def _filter(self, params, followed, values, available, action, is_first):
        perception, (state, verdict) = self.model.perception, followed
        mask = perception.delivered(available)
        said = perception.say(params, values, mask, mask)
        if self._judge is not None:
            inputs = (verdict, said, mask, action, is_first)
            trusted, state, verdict = self._judge.step(params, self._thresholds, *inputs)
            mask &= trusted
        belief = perception.fuse(said, mask, None)
        evidence, blind, fused, embeddings = self._evidence(belief)
        if self._judge is None:
            state = self._move(params, state, action, is_first, evidence, blind)
        feature = jnp.concatenate([state.feature, fused], -1)
        return feature, embeddings, mask, Followed(state, verdict)

    def _filter_all(self, params, experts, available, action):
        evidence, blind, fused, embeddings = self._evidence(self._fuse(experts, available))
        inputs = (action, jnp.arange(len(action)) == 0, evidence, blind)

        def step(state, now):
            state = self._move(params, state, *(x[None] for x in now))
            return state, state.feature[0]

        feature = jax.lax.scan(step, self.model.rssm.initial(1), inputs)[1]
        return jnp.concatenate([feature, fused], -1), embeddings
