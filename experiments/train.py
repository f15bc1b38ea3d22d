"""Trains an agent: python -m experiments.train --task walker_walk."""

import contextlib
import os
import pathlib
import time

import jax
import numpy as np
from jax.sharding import Mesh

from envs.failures.script import load_script
from envs.processes.parallel import ParallelEnvironments
from experiments.batches import Batches
from experiments.collector import Collector
from experiments.command_line import Stop, explain, parse_config
from experiments.evaluation.agreement import Recording, agreement
from experiments.evaluation.rollout import agent_actor, evaluation_environments, rollout
from experiments.learner import Learner
from experiments.progress import Averages, Progress, finite_means
from experiments.runtime.start import (
    check_settings,
    lock,
    replay_folders,
    training_environments,
)
from mummi.agent import Agent, AgentState
from mummi.config import Config
from mummi.data.replay import recorded_step
from mummi.imitation.record import is_imitation
from mummi.runs import devices
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger, Silence

CATCH_UP = 20
"""Most updates between two environment steps, so that a resumed run stays responsive."""


class Trainer:
    """Acts, learns, evaluates, logs and saves; everything here goes on after a kill.

    Of a run of several processes each has one, and all go through the same steps together: each
    acts in its own environments, which fill its own replay, and gives its part of every batch.

    Args:
        config: the run's settings.
        environments: the training environments of this process.
        logger: where metrics go.
        mesh: the devices of all processes.
    """

    def __init__(
        self,
        config: Config,
        environments: ParallelEnvironments,
        logger: Logger | Silence,
        mesh: Mesh,
    ):
        logdir = pathlib.Path(config.logdir)
        sensors = (environments.modalities, environments.action_size)
        self._config = config
        self._environments = environments
        self._logger = logger
        self._agent = Agent(config, *sensors, mesh)
        self._checkpointer = Checkpointer(logdir / "checkpoints")
        self._saved = self._checkpointer.latest_step()
        self._process = jax.process_index()
        self._batches = Batches(config, *sensors, mesh, self._saved or 0)
        self._collector = Collector(environments, self._batches.lived, self._batches.shown)
        state: AgentState = devices.put(self._agent.init(config.seed), devices.whole(mesh))
        # Episodes that were recorded after the checkpoint are kept; their updates are due.
        self._step = max(self._batches.lived.step, self._batches.shown.step)
        if self._saved is not None:
            state, meta = self._checkpointer.restore(state)
            if self._process == 0:
                self._batches.restore(meta["replay"])
            self._saved = meta["step"]
            self._step = max(self._step, self._saved)
        self._step = int(devices.gather([self._step]).max())
        last, together = self._worth(config.steps), self._batches.together
        self._learner = Learner(self._agent, state, self._batches.draw, last, together)
        self._ready = self._learning = False
        self._averages = Averages()

    def train(self) -> None:
        """Goes on until ``config.steps`` environment steps.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
            FloatingPointError: training diverged.
        """
        config, environments, learner = self._config, self._environments, self._learner
        if self._saved is not None and self._saved >= config.steps:
            print(f"{config.logdir} has its {self._saved} steps already; a larger --steps goes on")
            return
        key = jax.random.fold_in(jax.random.PRNGKey(config.seed + 1), self._step)
        if self._process:
            key = jax.random.fold_in(key, self._process)
        random = np.random.default_rng([config.seed, self._step, self._process])
        carry = self._agent.start(config.envs)
        batch = environments.reset()
        actions = np.zeros((config.envs, self._agent.action_size), np.float32)
        filling = np.ones(config.envs, bool)
        self._collector.add(batch, actions, self._step, self._demonstrated(filling))
        log, evaluation, save = self._schedule()
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(Stop())
            stack.enter_context(learner)
            progress = stack.enter_context(Progress(config.steps, self._step, learner.updates))
            stopped = False
            while self._step < config.steps and not stopped:
                filling = self._filling(filling, batch.is_first)
                actions = self._prefill(random) if filling.any() else actions
                if not filling.all():
                    seen = batch.values, batch.available, batch.is_first
                    device_actions, carry = self._agent.act(learner.acting, carry, *seen, key, True)
                    chosen = self._finite(np.asarray(device_actions))
                    actions = np.where(filling[:, None], actions, chosen)
                environments.step_async(actions)
                self._learn(progress)
                batch = environments.step_wait()
                taken = environments.action_repeat * int((~batch.is_first).sum())
                here = taken, stop.requested, time.monotonic() >= save
                taken, stopped, late = devices.gather(here).sum(0).tolist()
                self._step += taken
                shown = self._demonstrated(filling)
                for score in self._collector.add(batch, actions, self._step, shown):
                    self._logger.scalars(self._step, score)
                    if "episode/return" in score:
                        progress.score(score["episode/return"])
                progress.show(self._step, learner.updates)
                if log <= self._step < config.steps:
                    self._log(progress)
                    log = self._step + config.log_every
                if late and self._step < config.steps:
                    self._save()
                    save = time.monotonic() + config.checkpoint_every
                if config.evaluate_every and self._step >= evaluation:
                    progress.show(self._step, learner.updates, evaluation=self._evaluate())
                    evaluation += config.evaluate_every
            while self._due() > 0 and not stopped:
                self._learn(progress)
                stopped = devices.gather([stop.requested]).any()
                progress.show(self._step, learner.updates)
            progress.show(self._step, learner.updates, line=True)
            self._log(progress)
            # A checkpoint at the last step says that the run is complete.
            if self._step < config.steps or self._due() <= 0:
                self._save()
            if stopped:
                raise KeyboardInterrupt(
                    f"stopped at step {self._step}; the same command goes on from here"
                )

    def _schedule(self) -> tuple[int, int, float]:
        """Steps of the next log entry and evaluation, and the time of the next checkpoint."""
        every = self._config.evaluate_every
        evaluation = (self._step // every + 1) * every if every else 0
        now = time.monotonic()
        return self._step + self._config.log_every, evaluation, now + self._config.checkpoint_every

    def _filling(self, before: np.ndarray, is_first: np.ndarray) -> np.ndarray:
        """Which environments [K] the prefill acts in; a demonstration goes on to its end."""
        if self._config.prefill_from == "demonstrations":
            return np.where(is_first, self._step < self._config.prefill, before)
        early = self._step < self._config.prefill or not self._batches.lived.episodes
        return np.full(len(before), early)

    def _prefill(self, random: np.random.Generator) -> np.ndarray:
        """Actions [K, A] of the prefill."""
        shape = (self._config.envs, self._agent.action_size)
        if self._config.prefill_from == "demonstrations":
            noise = random.normal(0, self._config.behavior.exploration, shape)
            actions = np.clip(self._environments.expert_action() + noise, -1, 1)
        else:
            actions = random.uniform(-1, 1, shape)
        return actions.astype(np.float32)

    def _demonstrated(self, filling: np.ndarray) -> np.ndarray:
        """In which environments [K] the expert acts."""
        return filling & (self._config.prefill_from == "demonstrations")

    def _due(self) -> int:
        """Updates, in whole calls, that the steps so far are worth and that were not made."""
        if self._step < self._config.prefill or not self._recorded():
            return 0
        together = self._batches.together
        return (self._worth(self._step) - self._learner.updates) // together * together

    def _worth(self, step: int) -> int:
        """Updates that a run is worth up to a step."""
        steps = max(0, step - self._config.prefill)
        return self._config.pretrain + int(steps * self._config.updates_per_1000 / 1000)

    def _recorded(self) -> bool:
        """Whether every process has an episode to learn from."""
        if not self._ready:
            here = self._batches.lived.episodes + self._batches.shown.episodes
            self._ready = bool(devices.gather([here]).all())
        return self._ready

    def _finite(self, actions: np.ndarray) -> np.ndarray:
        if not np.isfinite(actions).all():
            self._averages.take(self._step)  # raises by the name of the loss, if that is the cause
            raise FloatingPointError(f"the policy's action is not finite at step {self._step}")
        return actions

    def _learn(self, progress: Progress) -> None:
        together = self._batches.together
        due = min(self._due(), max(together, CATCH_UP // together * together))
        if due > 0 and not self._learning:
            progress.note("compiling the first update")
            self._learning = True
        for metrics in self._learner.learn(max(0, due)):
            self._averages.add(metrics)

    def _log(self, progress: Progress) -> None:
        rates = progress.rates(self._step, self._learner.updates)
        rates["environment_restarts"] = self._environments.restarts
        self._logger.scalars(self._step, self._averages.take(self._step) | rates)

    def _save(self) -> None:
        if self._saved is None or self._step > self._saved:
            # A diverged state must not replace a good checkpoint.
            if means := self._averages.take(self._step):
                self._logger.scalars(self._step, means)
            state, ahead = self._learner.newest()
            finite_means(ahead, self._step)
            meta = {"step": self._step, "replay": self._batches.state()}
            self._checkpointer.save(self._step, state, meta)
            self._saved = self._step

    def _evaluate(self) -> float:
        """Mean return under the training's dropout, on evaluation seeds and clips.

        The agreement of the sensors is logged with it.
        """
        config = self._config
        count = max(1, min(config.envs, config.evaluate_episodes))
        with evaluation_environments(config, count, config.seed, config.missing) as environments:
            act = agent_actor(self._agent, self._learner.acting, count, config.seed)
            recording = Recording(act, environments)
            result = rollout(recording, environments, range(config.evaluate_episodes))
        scores = {"evaluation/return": result.mean, "evaluation/std": result.std}
        scores |= {f"evaluation/{name}": value for name, value in result.last.items()}
        decoded = agreement(self._agent, self._learner.acting, recording, config.seed)
        for fitted, row in decoded.items():
            scores |= {f"decoding/{fitted}_to_{name}": score for name, score in row.items()}
        self._logger.scalars(self._step, scores)
        return result.mean


def train(config: Config) -> pathlib.Path:
    """Trains or resumes the run of ``config``; returns its folder.

    Of several processes the first writes the configuration, metrics and checkpoints, and speaks.

    Raises:
        ValueError: settings that contradict each other, or the folder holds something else, a run
            with other settings, or is in use.
    """
    check_settings(config)
    devices.connect(config.coordinator, config.processes, config.process)
    mesh, process = devices.data_mesh(config.devices, config.batch_size), jax.process_index()
    logdir = pathlib.Path(config.logdir)
    if is_imitation(logdir):
        raise ValueError(f"{str(logdir)!r} holds a run of experiments.imitate; give a new folder")
    run.check_folder(logdir, config)
    with contextlib.ExitStack() as stack:
        if process:
            silent = stack.enter_context(pathlib.Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        else:
            stack.enter_context(lock(logdir))
        if jax.default_backend() == "cpu" and config.preset in ("paper", "published", "modern"):
            print(f"preset {config.preset} takes days on a CPU; --preset laptop takes minutes")
        # Whatever seeds the environments had before a resumption, they go on with new ones.
        saved = Checkpointer(logdir / "checkpoints").latest_step() or 0
        life = max(saved, *map(recorded_step, replay_folders(logdir, process)))
        environments = stack.enter_context(training_environments(config, process, life))
        if config.prefill_from == "demonstrations":
            environments.expert_action()  # refused for a task without an expert
        logger = Silence()
        if process == 0:
            sensors = (environments.modalities, environments.action_size)
            run.open_run(logdir, run.Run(config, *sensors, load_script(config.missing).to_dict()))
            logger = stack.enter_context(Logger(logdir))
        devices.gather([0])  # the folder is a run before the others write into it
        Trainer(config, environments, logger, mesh).train()
    return logdir


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and trains."""
    with explain():
        print(f"run: {train(parse_config(arguments))}")


if __name__ == "__main__":
    main()
