"""Updates of the agent beside its acting: the next is made while the environments step."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import jax.numpy as jnp

from mummi.agent import Agent, AgentState, Parameters
from mummi.data.prefetch import Prefetch
from mummi.runs.devices import local

Update = tuple[Parameters, Parameters, dict[str, jax.Array]]
"""What acting needs after an update, its running mean, and the update's metrics."""


class Learner:
    """Makes updates one after the other, and each before it is due, on a thread of its own.

    Acting has the parameters after the last update that was due, so it is as if every update were
    made at the moment when it is; but the environments need not wait for it. The thread is needed
    on a CPU, where JAX makes the calls of one thread one after the other. Of several processes
    each makes an update when it is due, since all must make their common calls in one order.

    Args:
        agent: the agent, whose state is on its mesh.
        state: where to go on.
        sample: returns the next batch, or of K > 1 arrays [K, B, ...]; called on another thread.
        last: the number of updates that none is made ahead of.
        updates_per_call: K, whose batches ``sample`` returns at once.

    Attributes:
        acting: what acting needs, on a device of this process.
        average: the running mean of it, which is evaluated.
        updates: number of the last update that was due.
    """

    def __init__(
        self,
        agent: Agent,
        state: AgentState,
        sample: Callable[[], dict],
        last: int,
        updates_per_call: int = 1,
    ):
        self._call = agent.update if updates_per_call == 1 else agent.update_many
        self._updates_per_call = updates_per_call
        self._state = state
        self._sample = sample
        self._last = last
        self._batches: Prefetch | None = None
        self._thread = ThreadPoolExecutor(1, "learner") if jax.process_count() == 1 else None
        self._ahead: Future[Update] | None = None
        self._copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
        self.acting, self.average = self._parameters()
        self.updates = int(state.updates)

    def learn(self, count: int) -> list[dict[str, jax.Array]]:
        """Takes the next ``count`` updates, a multiple of K, as due.

        Returns:
            The metrics of each call: scalars, or of K > 1 arrays [K].

        Raises:
            Exception: whatever ``sample`` raised.
        """
        if count and self._batches is None:
            self._batches = Prefetch(self._sample)
        rows = []
        for _ in range(count // self._updates_per_call):
            update = self._ahead.result() if self._ahead else self._update()
            self.acting, self.average, metrics = update
            self._ahead = None
            self.updates += self._updates_per_call
            rows.append(metrics)
            if self._thread and self.updates + self._updates_per_call <= self._last:
                self._ahead = self._thread.submit(self._update)
        return rows

    def newest(self) -> tuple[AgentState, list[dict[str, jax.Array]]]:
        """The state after every call, also one ahead, and the metrics of that one if there is."""
        ahead = [self._ahead.result()[-1]] if self._ahead else []
        return self._state, ahead

    def close(self) -> None:
        """Ends the threads; may be called twice."""
        if self._thread:
            self._thread.shutdown()
        if self._batches:
            self._batches.close()

    def __enter__(self) -> "Learner":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _update(self) -> Update:
        self._state, metrics = self._call(self._state, next(self._batches))
        return *self._parameters(), metrics

    def _parameters(self) -> tuple[Parameters, Parameters]:
        """Copies, since the next update reuses the buffers of the state."""
        state = self._state
        last = Parameters(state.model, state.actor, state.critic)
        return self._copy(local((last, state.average)))
