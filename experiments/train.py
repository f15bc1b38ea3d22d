"""Trains an agent: python -m experiments.train --task walker_walk."""

import contextlib
import fcntl
import pathlib
import time
from collections import defaultdict

import jax
import numpy as np

from envs.dropout import load_script
from envs.parallel import Batch, ParallelEnvironments
from experiments.agreement import Recording, agreement
from experiments.command_line import Stop, explain, parse_config
from experiments.evaluation import agent_actor, evaluation_environments, rollout
from experiments.progress import Progress
from mummi import run
from mummi.agent import Agent, AgentState, nest
from mummi.checkpoint import Checkpointer
from mummi.config import Config
from mummi.imitation.record import is_imitation
from mummi.logger import Logger
from mummi.replay import EpisodeWriter, Prefetch, Replay, recorded_step

CATCH_UP = 20
"""Most updates between two environment steps, so that a resumed run stays responsive."""


class Collector:
    """Writes what K environments deliver into the replay, and keeps score."""

    def __init__(self, environments: ParallelEnvironments, replay: Replay):
        sensors = (environments.modalities, environments.action_size)
        self._writers = [EpisodeWriter(*sensors) for _ in range(len(environments))]
        self._replay = replay
        self._returns = np.zeros(len(environments))
        self._missing = np.zeros(len(environments))

    def add(self, batch: Batch, actions: np.ndarray, step: int) -> list[dict[str, float]]:
        """Takes one step [K]; returns the score of each episode that ended with it."""
        ended = []
        for k, writer in enumerate(self._writers):
            if batch.restarted[k]:
                writer.drop()
            if batch.is_first[k]:
                self._returns[k] = self._missing[k] = 0.0
            values = {name: value[k] for name, value in batch.values.items()}
            available = {name: there[k] for name, there in batch.available.items()}
            flags = (batch.is_first[k], batch.is_last[k], batch.is_terminal[k])
            writer.append(values, available, actions[k], batch.reward[k], *flags)
            self._returns[k] += batch.reward[k]
            self._missing[k] += 1.0 - np.mean(list(available.values()))
            if batch.is_last[k]:
                length = len(writer)
                self._replay.add(writer.finish(), step)
                score = {"return": self._returns[k], "missing": self._missing[k] / length}
                score |= {f"last/{name}": value for name, value in batch.info[k].items()}
                ended.append({f"episode/{name}": float(value) for name, value in score.items()})
        return ended


class Averages:
    """Means of the metrics since the last log entry; they stay on the device until then."""

    def __init__(self):
        self._rows = []

    def add(self, metrics: dict) -> None:
        """Adds the metrics of one update."""
        self._rows.append(metrics)

    def take(self, step: int) -> dict[str, float]:
        """The means, and starts anew.

        Raises:
            FloatingPointError: a loss or gradient is not finite, so the run must not go on.
        """
        rows, self._rows = jax.device_get(self._rows), []
        values = defaultdict(list)
        for row in rows:
            for name, value in row.items():
                values[name].append(value)
        means = {name: float(np.mean(column)) for name, column in values.items()}
        broken = [name for name, value in means.items() if not np.isfinite(value)]
        if broken:
            raise FloatingPointError(
                f"{broken[0]} is not finite at step {step}: training diverged. The last checkpoint "
                "is from before; a smaller --model.learning-rate or --model.clip may help a new run"
            )
        return means


class Trainer:
    """Acts, learns, evaluates, logs and saves; everything here goes on after a kill.

    Args:
        config: the run's settings.
        environments: the training environments.
        logger: where metrics go.
    """

    def __init__(self, config: Config, environments: ParallelEnvironments, logger: Logger):
        logdir = pathlib.Path(config.logdir)
        sensors = (environments.modalities, environments.action_size)
        self._config = config
        self._environments = environments
        self._logger = logger
        self._agent = Agent(config, *sensors)
        self._replay = Replay(logdir / "replay", *sensors, config.replay_capacity, config.seed)
        self._collector = Collector(environments, self._replay)
        self._checkpointer = Checkpointer(logdir / "checkpoints")
        self._saved: int | None = None
        self._state: AgentState = self._agent.init(config.seed)
        self._step = self._replay.step
        if self._checkpointer.latest_step() is not None:
            self._state, meta = self._checkpointer.restore(self._state)
            self._replay.restore(meta["replay"])
            self._saved = meta["step"]
            # Episodes that were recorded after the checkpoint are kept; their updates are due.
            self._step = max(self._step, self._saved)
        self._updates = int(self._state.updates)
        self._averages = Averages()
        self._batches: Prefetch | None = None

    def train(self) -> None:
        """Goes on until ``config.steps`` environment steps.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
            FloatingPointError: training diverged.
        """
        config, environments = self._config, self._environments
        if self._saved is not None and self._saved >= config.steps:
            print(f"{config.logdir} has its {self._saved} steps already; a larger --steps goes on")
            return
        key = jax.random.fold_in(jax.random.PRNGKey(config.seed + 1), self._step)
        random = np.random.default_rng([config.seed, self._step])
        carry = self._agent.start(config.envs)
        batch = environments.reset()
        actions = np.zeros((config.envs, self._agent.action_size), np.float32)
        self._collector.add(batch, actions, self._step)
        log, evaluation, save = self._schedule()
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(Stop())
            progress = stack.enter_context(Progress(config.steps, self._step, self._updates))
            while self._step < config.steps and not stop.requested:
                if self._step < config.prefill or not self._replay.episodes:
                    if config.prefill_from == "demonstrations":
                        noise = random.normal(0, config.behavior.exploration, actions.shape)
                        actions = np.clip(environments.expert_action() + noise, -1, 1)
                    else:
                        actions = random.uniform(-1, 1, actions.shape)
                    actions = actions.astype(np.float32)
                else:
                    device_actions, carry = self._agent.act(
                        self._state, carry, batch.values, batch.available, batch.is_first, key, True
                    )
                    actions = self._finite(np.asarray(device_actions))
                environments.step_async(actions)
                self._learn(stack, progress)
                batch = environments.step_wait()
                self._step += environments.action_repeat * int((~batch.is_first).sum())
                for score in self._collector.add(batch, actions, self._step):
                    self._logger.scalars(self._step, score)
                    progress.score(score["episode/return"])
                progress.show(self._step, self._updates)
                if log <= self._step < config.steps:
                    self._log(progress)
                    log = self._step + config.log_every
                if time.monotonic() >= save and self._step < config.steps:
                    self._save()
                    save = time.monotonic() + config.checkpoint_every
                if config.evaluate_every and self._step >= evaluation:
                    progress.show(self._step, self._updates, evaluation=self._evaluate())
                    evaluation += config.evaluate_every
            while self._due() > 0 and not stop.requested:
                self._learn(stack, progress)
                progress.show(self._step, self._updates)
            progress.show(self._step, self._updates, line=True)
            self._log(progress)
            # A checkpoint at the last step says that the run is complete.
            if self._step < config.steps or self._due() <= 0:
                self._save()
            if stop.requested:
                raise KeyboardInterrupt(
                    f"stopped at step {self._step}; the same command goes on from here"
                )

    def _schedule(self) -> tuple[int, int, float]:
        """Steps of the next log entry and evaluation, and the time of the next checkpoint."""
        every = self._config.evaluate_every
        evaluation = (self._step // every + 1) * every if every else 0
        now = time.monotonic()
        return self._step + self._config.log_every, evaluation, now + self._config.checkpoint_every

    def _due(self) -> int:
        """Updates that the environment steps so far are worth and that were not made."""
        if not self._replay.episodes:
            return 0
        steps = self._step - self._config.prefill
        return int(steps * self._config.updates_per_1000 / 1000) - self._updates

    def _sample(self) -> dict:
        batch = self._replay.sample(self._config.batch_size, self._config.batch_length)
        return jax.device_put(nest(batch))

    def _finite(self, actions: np.ndarray) -> np.ndarray:
        if not np.isfinite(actions).all():
            self._averages.take(self._step)  # raises by the name of the loss, if that is the cause
            raise FloatingPointError(f"the policy's action is not finite at step {self._step}")
        return actions

    def _learn(self, stack: contextlib.ExitStack, progress: Progress) -> None:
        due = min(self._due(), CATCH_UP)
        if due > 0 and self._batches is None:
            progress.note("compiling the first update")
            self._batches = stack.enter_context(Prefetch(self._sample))
        for _ in range(due):
            self._state, metrics = self._agent.update(self._state, next(self._batches))
            self._averages.add(metrics)
            self._updates += 1

    def _log(self, progress: Progress) -> None:
        rates = progress.rates(self._step, self._updates)
        rates["environment_restarts"] = self._environments.restarts
        self._logger.scalars(self._step, self._averages.take(self._step) | rates)

    def _save(self) -> None:
        if self._saved is None or self._step > self._saved:
            # A diverged state must not replace a good checkpoint.
            if means := self._averages.take(self._step):
                self._logger.scalars(self._step, means)
            meta = {"step": self._step, "replay": self._replay.state()}
            self._checkpointer.save(self._step, self._state, meta)
            self._saved = self._step

    def _evaluate(self) -> float:
        """Mean return under the training's dropout, on evaluation seeds and clips.

        The agreement of the sensors is logged with it.
        """
        config = self._config
        count = max(1, min(config.envs, config.evaluate_episodes))
        with evaluation_environments(config, count, config.seed, config.missing) as environments:
            act = agent_actor(self._agent, self._state, count, config.seed)
            recording = Recording(act, environments)
            result = rollout(recording, environments, config.evaluate_episodes)
        scores = {"evaluation/return": result.mean, "evaluation/std": result.std}
        scores |= {f"evaluation/{name}": value for name, value in result.last.items()}
        decoded = agreement(self._agent, self._state, recording, config.seed)
        for fitted, row in decoded.items():
            scores |= {f"decoding/{fitted}_to_{name}": score for name, score in row.items()}
        self._logger.scalars(self._step, scores)
        return result.mean


@contextlib.contextmanager
def lock(logdir: pathlib.Path):
    """Holds the run's folder; a second process on it is a ValueError."""
    logdir.mkdir(parents=True, exist_ok=True)
    with (logdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process trains in {str(logdir)!r}") from None
        yield


def train(config: Config) -> pathlib.Path:
    """Trains or resumes the run of ``config``; returns its folder.

    Raises:
        ValueError: the folder holds something else, a run with other settings, or is in use.
    """
    logdir = pathlib.Path(config.logdir)
    if is_imitation(logdir):
        raise ValueError(f"{str(logdir)!r} holds a run of experiments.imitate; give a new folder")
    run.check_folder(logdir, config)
    if jax.default_backend() == "cpu" and config.preset in ("paper", "published", "modern"):
        print(f"preset {config.preset} takes days on a CPU; --preset laptop takes minutes")
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock(logdir))
        # Whatever seeds the environments had before a resumption, they go on with new ones.
        saved = Checkpointer(logdir / "checkpoints").latest_step() or 0
        life = max(saved, recorded_step(logdir / "replay"))
        environments = stack.enter_context(
            ParallelEnvironments(
                config.task,
                [(config.seed, 0, k, life) for k in range(config.envs)],
                image_size=config.image_size,
                missing=config.missing,
                background=config.background,
                action_repeat=config.action_repeat,
                **config.env,
            )
        )
        if config.prefill_from == "demonstrations":
            environments.expert_action()  # refused for a task without an expert
        sensors = (environments.modalities, environments.action_size)
        run.open_run(logdir, run.Run(config, *sensors, load_script(config.missing).to_dict()))
        logger = stack.enter_context(Logger(logdir))
        Trainer(config, environments, logger).train()
    return logdir


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and trains."""
    with explain():
        print(f"run: {train(parse_config(arguments))}")


if __name__ == "__main__":
    main()
