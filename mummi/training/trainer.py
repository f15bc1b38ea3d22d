"""A training run: act, step, learn, log, evaluate and save, and go on after a kill."""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from mummi.agent import Agent, AgentState, Parameters
from mummi.config import Config
from mummi.runs import devices, record
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger, Reports, Silence
from mummi.training.actor import Actor
from mummi.training.batches import Batches
from mummi.training.collector import Collector
from mummi.training.environments import Environments
from mummi.training.learner import Learner
from mummi.training.progress import Averages, Progress, finite_means, processor_seconds
from mummi.training.schedule import Every
from mummi.training.start import lock, prepare
from mummi.training.stop import Stop

CATCH_UP = 20
"""Most updates between two environment steps, so that a resumed run stays responsive."""

Evaluate = Callable[[Agent, Parameters], Mapping[str, float | np.ndarray]]
"""What to log of an agent with its present parameters: scores, of which ``evaluation/return`` is
shown as well, and films, uint8 [T, H, W, 3]."""


def target_updates(config: Config, step: int) -> int:
    """Updates that a run should have made by an environment step."""
    steps = max(0, step - config.prefill)
    return config.pretrain + int(steps * config.updates_per_1000 / 1000)


class Trainer:
    """Acts, learns, evaluates, logs and saves; everything here goes on after a kill.

    Of a run of several processes each has one, and all go through the same steps together: each
    acts in its own environments, which fill its own replay, and gives its part of every batch.

    Args:
        config: the run's settings.
        environments: the training environments of this process.
        logger: where metrics go.
        mesh: the devices of all processes.
        evaluate: called every ``config.evaluate_every`` steps; None for no evaluation.
    """

    def __init__(
        self,
        config: Config,
        environments: Environments,
        logger: Reports,
        mesh: Mesh,
        evaluate: Evaluate | None = None,
    ):
        sensors = (environments.modalities, environments.action_size)
        self._spent = processor_seconds()  # before this run; less what it had spent when it resumes
        self._config = config
        self._environments = environments
        self._logger = logger
        self._evaluator = evaluate
        self._agent = Agent(config, *sensors, mesh)
        self._checkpointer = Checkpointer(pathlib.Path(config.logdir) / "checkpoints")
        self._saved = self._checkpointer.latest_step()
        self._batches = Batches(config, *sensors, mesh, self._saved or 0)
        self._collector = Collector(
            environments, self._batches.online, self._batches.demonstrations
        )
        fresh = devices.run_once(self._agent.init, config.seed)
        state: AgentState = devices.put(fresh, devices.replicated(mesh))
        # Episodes that were recorded after the checkpoint are kept; their updates are pending.
        self._step = self._batches.step
        if self._saved is not None:
            state, meta = self._checkpointer.restore(state)
            if jax.process_index() == 0:
                self._batches.restore(meta["replay"])
            self._saved = meta["step"]
            self._spent -= meta.get("cpu_seconds", 0.0)
            self._step = max(self._step, self._saved)
        self._step = int(devices.gather([self._step]).max())
        self._last_update = target_updates(config, config.steps)
        self._learner = Learner(
            self._agent,
            state,
            self._batches.draw,
            self._last_update,
            self._batches.updates_per_call,
        )
        self._actor = Actor(self._agent, environments, config, self._step)
        self._averages = Averages()
        self._ready = self._learning = self._late = self._stopped = False

    def train(self) -> None:
        """Goes on until ``config.steps`` environment steps.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
            FloatingPointError: training diverged.
        """
        if self._saved is not None and self._saved >= self._config.steps:
            print(
                f"{self._config.logdir} has its {self._saved} steps already; a larger --steps "
                "goes on"
            )
            return
        with contextlib.ExitStack() as stack:
            self._begin(stack)
            while self._step < self._config.steps and not self._stopped:
                self._act()
                self._learn()
                self._collect()
                self._log()
                self._save()
                self._evaluate()
            self._finish()

    def _begin(self, stack: contextlib.ExitStack) -> None:
        """Starts the environments, and counting towards what happens every so often."""
        config, step = self._config, self._step
        self._stop = stack.enter_context(Stop())
        stack.enter_context(self._learner)
        progress = Progress(config.steps, step, self._learner.updates)
        self._progress = stack.enter_context(progress)
        self._batch = self._environments.reset()
        self._actions = np.zeros((len(self._environments), self._agent.action_size), np.float32)
        self._collector.add(self._batch, self._actions, step, self._actor.demonstrated)
        self._logs = Every(config.log_every, step)
        self._saves = Every(config.checkpoint_every, time.monotonic())
        often = config.evaluate_every if config.evaluate_every and self._evaluator else math.inf
        self._evaluations = Every(often, step, aligned=True)

    def _act(self) -> None:
        """Sends the next actions to the environments, which then step by themselves."""
        recorded = self._batches.online.episodes > 0
        inputs = (self._batch, self._learner.acting, self._step, recorded)
        try:
            self._actions = self._actor.act(*inputs)
        except FloatingPointError:
            self._averages.take(self._step)  # raises by the name of the loss that is the cause
            raise
        self._environments.step_async(self._actions)

    def _learn(self) -> None:
        """Makes the updates that are pending, so many that the environments do not wait long."""
        per_call = self._batches.updates_per_call
        most = max(per_call, CATCH_UP // per_call * per_call)
        count = min(self._pending_updates(), most)
        if count > 0 and not self._learning:
            self._progress.note("compiling the first update")
            self._learning = True
        for metrics in self._learner.learn(max(0, count)):
            self._averages.add(metrics)

    def _collect(self) -> None:
        """Waits for the environments' steps, counts those of all processes, and records them."""
        self._batch = self._environments.step_wait()
        taken = self._environments.action_repeat * int((~self._batch.is_first).sum())
        here = taken, self._stop.requested, self._saves.due(time.monotonic())
        taken, self._stopped, self._late = devices.gather(here).sum(0).tolist()
        self._step += taken
        inputs = (self._batch, self._actions, self._step, self._actor.demonstrated)
        for score in self._collector.add(*inputs):
            self._logger.scalars(self._step, score)
            if "episode/return" in score:
                self._progress.score(score["episode/return"])
        self._progress.show(self._step, self._learner.updates)

    def _log(self) -> None:
        if self._logs.due(self._step) and self._step < self._config.steps:
            self._report()
            self._logs.done(self._step)

    def _save(self) -> None:
        if self._late and self._step < self._config.steps:
            self._checkpoint()
            self._saves.done(time.monotonic())

    def _evaluate(self) -> None:
        if self._evaluations.due(self._step):
            results = self._evaluator(self._agent, self._learner.average)
            films = {name: value for name, value in results.items() if np.ndim(value) == 4}
            for name, frames in films.items():
                self._logger.video(self._step, name, frames)
            scores = {name: value for name, value in results.items() if name not in films}
            spent = {"cpu_seconds": processor_seconds() - self._spent}
            self._logger.scalars(self._step, {**scores, **spent})
            shown = {"evaluation": scores.get("evaluation/return")}
            shown = {name: score for name, score in shown.items() if score is not None}
            self._progress.show(self._step, self._learner.updates, **shown)
            self._evaluations.done(self._step)

    def _finish(self) -> None:
        """Makes the updates that are still pending, and a last entry and checkpoint."""
        while self._pending_updates() > 0 and not self._stopped:
            self._learn()
            self._stopped = devices.gather([self._stop.requested]).any()
            self._progress.show(self._step, self._learner.updates)
        self._progress.show(self._step, self._learner.updates, line=True)
        self._report()
        # A checkpoint at the last step says that the run is complete.
        if self._step < self._config.steps or self._pending_updates() <= 0:
            self._checkpoint()
        if self._stopped:
            raise KeyboardInterrupt(
                f"stopped at step {self._step}; the same command goes on from here"
            )

    def _pending_updates(self) -> int:
        """Updates, in whole calls, that should have been made by now and were not."""
        if self._step < self._config.prefill or not self._recorded():
            return 0
        per_call = self._batches.updates_per_call
        target = target_updates(self._config, self._step)
        return (target - self._learner.updates) // per_call * per_call

    def _recorded(self) -> bool:
        """Whether every process has an episode to learn from."""
        if not self._ready:
            self._ready = bool(devices.gather([self._batches.episodes]).all())
        return self._ready

    def _report(self) -> None:
        """Logs mean metrics and rates since the last time."""
        rates = self._progress.rates(self._step, self._learner.updates)
        rates["cpu_seconds"] = processor_seconds() - self._spent
        rates["environment_restarts"] = self._environments.restarts
        rates["episodes_dropped"] = self._collector.dropped
        self._logger.scalars(self._step, self._averages.take(self._step) | rates)

    def _checkpoint(self) -> None:
        if self._saved is None or self._step > self._saved:
            # A diverged state must not replace a good checkpoint.
            if means := self._averages.take(self._step):
                self._logger.scalars(self._step, means)
            state, ahead = self._learner.newest()
            finite_means(ahead, self._step)
            meta = {"step": self._step, "replay": self._batches.state()}
            meta["cpu_seconds"] = processor_seconds() - self._spent
            self._checkpointer.save(self._step, state, meta)
            self._saved = self._step


def train(
    config: Config,
    environments: Environments,
    evaluate: Evaluate | None = None,
    script: Mapping | None = None,
) -> pathlib.Path:
    """Trains or resumes the run of ``config``; returns its folder.

    Of several processes the first writes the configuration, metrics and checkpoints, and speaks.

    Args:
        config: the run's settings. ``envs`` and ``action_repeat`` are those of the environments,
            and other settings of the task are only recorded.
        environments: what it acts in.
        evaluate: scores the agent every ``config.evaluate_every`` steps; None for no evaluation.
        script: the sensor dropout in these environments, for the record; plain dictionaries.

    Raises:
        ValueError: settings that contradict each other, no expert where one is to demonstrate, or
            the folder holds something else, a run with other settings, or is in use.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
        FloatingPointError: training diverged.
    """
    config = _completed(config, environments)
    mesh = prepare(config)
    process, logdir = jax.process_index(), pathlib.Path(config.logdir)
    if config.prefill_from == "demonstrations":
        environments.expert_action()  # refused for a task without an expert
    with contextlib.ExitStack() as stack:
        if process:
            silent = stack.enter_context(pathlib.Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        else:
            stack.enter_context(lock(logdir))
        if jax.default_backend() == "cpu" and config.preset in ("paper", "published", "modern"):
            print(f"preset {config.preset} takes days on a CPU; --preset laptop takes minutes")
        logger = Silence()
        if process == 0:
            sensors = (environments.modalities, environments.action_size)
            record.open_run(logdir, record.Run(config, *sensors, script))
            logger = stack.enter_context(Logger(logdir, config.logger))
        devices.gather([0])  # the folder is a run before the others write into it
        Trainer(config, environments, logger, mesh, evaluate).train()
    return logdir


def _completed(config: Config, environments: Environments) -> Config:
    """The settings, with what the environments say and the default folder."""
    # A slash is that of a suite; anything else that is odd in a folder's name is left out.
    task = re.sub(r"[^\w./-]+", "-", config.task)
    default = f"runs/{task}/{config.method}-{config.preset}-{config.seed}"
    return dataclasses.replace(
        config,
        envs=len(environments),
        action_repeat=environments.action_repeat,
        logdir=config.logdir or default,
    )
