"""Evaluation of an agent while it trains."""

import numpy as np

from experiments.evaluation.actors import AgentActor
from experiments.evaluation.agreement import Recording, agreement
from experiments.evaluation.diagnosis import diagnose, scalars
from experiments.evaluation.rollout import evaluation_environments, rollout
from experiments.evaluation.trained import Trained
from experiments.evaluation.trust import Traces, measure
from experiments.evaluation.video import Film
from mummi.agent import Agent, Parameters
from mummi.config import Config


class Evaluation:
    """Scores an agent under the training's dropout, on seeds and clips that training never uses.

    Args:
        config: the run's settings.
    """

    def __init__(self, config: Config):
        self._config = config

    def __call__(self, agent: Agent, parameters: Parameters) -> dict[str, float | np.ndarray]:
        """Plays ``config.evaluate_episodes`` episodes.

        Args:
            agent: the agent.
            parameters: its present parameters.

        Returns:
            ``evaluation/return``, ``evaluation/std``, with trust by ``trust/SENSOR`` the mean trust
            in each sensor and by ``distrusted/SENSOR`` the share of steps at which it was left out
            although it delivered; by ``evaluation/NAME`` what the task logs
            at the end of an episode; by ``decoding/SENSOR_to_SENSOR`` how well the sensors agree;
            by ``diagnosis/NAME`` what the latents know, as of ``diagnosis.scalars``; as
            ``evaluation`` the film of the first episode, uint8 [T, H, W, 3].
        """
        config = self._config
        count = max(1, min(config.envs, config.evaluate_episodes))
        acting, trusts, traces = agent, config.trust == "on", None
        if trusts:
            acting = agent.trusting(measure(Trained(agent, parameters, 0, False), config, count))
        with evaluation_environments(config, count, config.seed, config.missing) as environments:
            act = actor = AgentActor(acting, parameters, count, config.seed)
            if trusts:
                act = traces = Traces(act, actor, [m.name for m in agent.modalities])
            film = Film(act, environments, 0, traces)
            recording = Recording(film, environments)
            result = rollout(recording, environments, range(config.evaluate_episodes))
        scores = {"evaluation/return": result.mean, "evaluation/std": result.std}
        scores |= {f"evaluation/{name}": value for name, value in result.last.items()}
        scores["evaluation"] = np.stack(film.frames)
        if trusts:
            scores |= traces.scalars()
        decoded = agreement(agent, parameters, recording, config.seed)
        for fitted, row in decoded.items():
            scores |= {f"decoding/{fitted}_to_{name}": score for name, score in row.items()}
        return scores | scalars(diagnose(agent, parameters, recording.episodes(), config.seed))
