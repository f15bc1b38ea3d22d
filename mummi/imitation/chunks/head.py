"""The head that predicts chunks of actions and takes a part of each (MIRROR, IMLE Policy)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mummi.imitation.chunks.baselines import (
    BesoActConfig,
    BesoActDropoutConfig,
    DiffusionPolicyConfig,
    DisBCConfig,
    DisDPConfig,
)
from mummi.imitation.chunks.choice import overlap_scores, scores
from mummi.imitation.chunks.config import (
    BesoConfig,
    ChunkConfig,
    DiffusionConfig,
    FlowConfig,
    IMLEConfig,
    MirrorConfig,
    MSEConfig,
)
from mummi.imitation.chunks.network import ChunkNetwork, Inputs
from mummi.imitation.chunks.training import train
from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report
from mummi.imitation.metrics import diversity
from mummi.runs import devices

__all__ = [
    "BesoActConfig",
    "BesoActDropoutConfig",
    "BesoConfig",
    "ChunkCarry",
    "ChunkConfig",
    "ChunkHead",
    "DiffusionConfig",
    "DiffusionPolicyConfig",
    "DisBCConfig",
    "DisDPConfig",
    "FlowConfig",
    "IMLEConfig",
    "MSEConfig",
    "MirrorConfig",
]


class ChunkCarry(NamedTuple):
    """What B robots remember, and what their last planning showed.

    Attributes:
        history: the last T_o inputs [B, T_o, ...].
        chunk: the chosen chunk [B, T_p, A], in [-1, 1].
        position: the step of it that was taken last; 0 where a chunk was made in this step, -1
            before the first.
        gap: distance between the chosen chunk and what the one before still held for the same
            steps; NaN for a robot's first chunk and where the one before held nothing more.
        diversity: mean distance between the candidates that it was chosen from; NaN of one.
    """

    history: Inputs
    chunk: Float[Array, "B T A"]
    position: Int[Array, " B"]
    gap: Float[Array, " B"]
    diversity: Float[Array, " B"]


class ChunkHead:
    """Plans T_p actions from T_o percepts, takes T_a of them, and plans anew.

    All robots are stepped in one compiled call, which runs the network only when a robot's chunk
    is used up or an episode begins, and then for all robots at once.
    """

    def __init__(self, config: ChunkConfig, sizes: Sizes):
        self.config = config
        self.network = ChunkNetwork(config, sizes)
        self._params = self._scales = None
        self._act = jax.jit(self._step)

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Learns from scratch; what it reports depends on the objective.

        Raises:
            ValueError: demonstrations that are none, too short, not finite or of other sizes.
            FloatingPointError: the loss is no longer finite.
        """
        params, scales = train(self.network, trajectories, seed, report, held_out)
        self._take(params, scales)

    def initialise(self, seed: int) -> None:
        """Random weights and plain scales, for what needs a head that has learned nothing."""
        params = devices.run_once(self.network.init, jax.random.PRNGKey(seed))
        self._take(params, self.network.blank_scales())

    def _take(self, params, scales):
        self._params, self._scales = jax.device_put((params, scales))

    def reset(self, batch: int) -> ChunkCarry:
        """What ``batch`` robots remember before their first step."""
        c, nothing = self.config, jnp.full(batch, jnp.nan, jnp.float32)
        history = jax.tree.map(jnp.asarray, self.network.blank(batch, c.observe))
        chunk = jnp.zeros((batch, c.predict, self.network.sizes.action), jnp.float32)
        position = jnp.full(batch, -1, jnp.int32)
        return ChunkCarry(
            history=history, chunk=chunk, position=position, gap=nothing, diversity=nothing
        )

    def act(
        self, carry: ChunkCarry, percept: Percept, is_first: Bool[np.ndarray, " B"], key: Array
    ) -> tuple[Float[np.ndarray, "B A"], ChunkCarry]:
        """The next action of each robot, in the environment's scale.

        Raises:
            RuntimeError: neither ``fit`` nor ``restore`` came before.
        """
        if self._params is None:
            raise RuntimeError("this head has not learned yet: call fit or restore first")
        inputs = self.network.inputs(percept)
        action, carry = self._act(self._params, self._scales, carry, inputs, is_first, key)
        return np.asarray(action), carry

    def in_environment_scale(self, chunk: Float[Array, "B T A"]) -> Float[np.ndarray, "B T A"]:
        """Actions of a carry's chunk as the environment takes them."""
        return np.asarray(self._scales["action"].restore(chunk))

    def _step(self, params, scales, carry, inputs, is_first, key):
        first = is_first | (carry.position < 0)

        def remember(past, now):
            moved = jnp.concatenate([past[:, 1:], now[:, None]], 1)
            fresh = first.reshape(-1, *(1,) * (past.ndim - 1))
            return jnp.where(fresh, now[:, None], moved)

        history = jax.tree.map(remember, carry.history, inputs)
        due = first | (carry.position + 1 >= self.config.execute)
        carry = carry._replace(history=history, position=carry.position + 1)

        def plan(carry):
            made = self._plan(params, scales, carry, first, key)
            return jax.tree.map(
                lambda new, old: jnp.where(due.reshape(-1, *(1,) * (new.ndim - 1)), new, old),
                made,
                carry,
            )

        carry = jax.lax.cond(due.any(), plan, lambda carry: carry, carry)
        action = carry.chunk[jnp.arange(len(first)), carry.position]
        return scales["action"].restore(action), carry

    def _plan(self, params, scales, carry, first, key):
        """The carry of robots that all make a chunk."""
        c = self.config
        candidates = self.network.sample(params, scales, carry.history, key)
        best = scores(c.choice, candidates, carry.chunk, c.execute, first).argmin(1)
        chunk = candidates[jnp.arange(len(best)), best]
        gap = overlap_scores(chunk[:, None], carry.chunk, c.execute)[:, 0]
        return ChunkCarry(
            history=carry.history,
            chunk=chunk,
            position=jnp.zeros_like(carry.position),
            gap=jnp.where(first, jnp.nan, gap),
            diversity=jax.vmap(diversity)(candidates),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Averaged parameters and scales by name."""
        scales = {name: scale._asdict() for name, scale in self._scales.items()}
        flat = flax.traverse_util.flatten_dict({"params": self._params, "scales": scales}, sep="/")
        return {name: np.asarray(array) for name, array in flat.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave.

        Raises:
            ValueError: an array is missing, unknown or of another shape, by its name.
        """
        params = jax.eval_shape(self.network.init, jax.random.PRNGKey(0))
        scales = {name: scale._asdict() for name, scale in self.network.blank_scales().items()}
        wanted = flax.traverse_util.flatten_dict({"params": params, "scales": scales}, sep="/")
        wrong = sorted(set(wanted) ^ set(arrays))
        if wrong:
            state = "missing from" if wrong[0] in wanted else "unknown among"
            raise ValueError(f"{wrong[0]!r} is {state} the arrays of this chunk head")
        for name, like in wanted.items():
            if np.shape(arrays[name]) != like.shape:
                raise ValueError(
                    f"{name!r} has shape {np.shape(arrays[name])}; this head needs {like.shape}"
                )
        tree = flax.traverse_util.unflatten_dict(dict(arrays), sep="/")
        kind = type(self.network.blank_scales()["action"])
        self._take(tree["params"], {n: kind(**scale) for n, scale in tree["scales"].items()})
