"""Who acts while data is collected: the prefill first, then the agent."""

import jax
import numpy as np

from mummi.agent import Agent, Parameters
from mummi.config import Config
from mummi.modality import is_finite
from mummi.training.environments import Batch, Environments


class Actor:
    """Chooses the actions of K training environments.

    The prefill acts at random, or as the scripted expert with the agent's exploration noise. After
    it the agent acts, and explores.

    Args:
        agent: the agent.
        environments: the environments.
        config: the run's settings.
        step: environment steps that the run goes on from, which makes its draws its own.

    Attributes:
        prefilling: bool [K], the prefill acts there.
    """

    def __init__(self, agent: Agent, environments: Environments, config: Config, step: int):
        process = jax.process_index()
        key = jax.random.fold_in(jax.random.PRNGKey(config.seed + 1), step)
        self._key = jax.random.fold_in(key, process) if process else key
        self._random = np.random.default_rng([config.seed, step, process])
        self._agent, self._environments, self._config = agent, environments, config
        self._from_expert = config.prefill_from == "demonstrations"
        self._carry = agent.start(len(environments))
        self.prefilling = np.ones(len(environments), bool)

    @property
    def demonstrated(self) -> np.ndarray:
        """In which environments [K] the expert acts, bool."""
        return self.prefilling & self._from_expert

    def act(self, batch: Batch, parameters: Parameters, step: int, recorded: bool) -> np.ndarray:
        """Actions float32 [K, A] in [-1, 1] that follow a step.

        Args:
            batch: the step.
            parameters: of the agent.
            step: environment steps taken by the run so far.
            recorded: whether the agent's own replay has an episode; chance acts until then.

        Raises:
            FloatingPointError: the agent's action is not finite.
        """
        if self._from_expert:  # a demonstration goes on to its end
            early = step < self._config.prefill
            self.prefilling = np.where(batch.is_first, early, self.prefilling)
        else:
            self.prefilling[:] = step < self._config.prefill or not recorded
        if self.prefilling.all():
            return self._prefill()
        actions = self._chosen(batch, parameters, step)
        if self.prefilling.any():
            actions = np.where(self.prefilling[:, None], self._prefill(), actions)
        return actions

    def _prefill(self) -> np.ndarray:
        shape = (len(self._environments), self._agent.action_size)
        if self._from_expert:
            noise = self._random.normal(0, self._config.behavior.exploration, shape)
            actions = np.clip(self._environments.expert_action() + noise, -1, 1)
        else:
            actions = self._random.uniform(-1, 1, shape)
        return actions.astype(np.float32)

    def _chosen(self, batch: Batch, parameters: Parameters, step: int) -> np.ndarray:
        # A value that is not finite would stay in the latent state until the episode's end.
        available = {
            m.name: batch.available[m.name] & is_finite(m, batch.values[m.name])
            for m in self._agent.modalities
        }
        inputs = (batch.values, available, batch.is_first, self._key)
        device_actions, self._carry = self._agent.act(parameters, self._carry, *inputs, True)
        actions = np.asarray(device_actions)
        if not np.isfinite(actions).all():
            raise FloatingPointError(f"the policy's action is not finite at step {step}")
        return actions
