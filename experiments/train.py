"""Trains an agent: python -m experiments.train --task walker_walk."""

import pathlib

import jax

import mummi
from envs.failures.script import load_script
from experiments.command_line import explain, parse_config
from experiments.evaluation.during_training import Evaluation
from experiments.runtime.start import training_environments
from mummi.config import Config
from mummi.training.start import prepare, restart_step


def train(config: Config) -> pathlib.Path:
    """Trains or resumes the run of ``config`` on its task; returns its folder.

    Raises:
        ValueError: as of ``mummi.train``, and where the task refuses a setting.
    """
    prepare(config)  # what is wrong is said before the environments take their seconds
    process = jax.process_index()
    restart = restart_step(pathlib.Path(config.logdir), process)
    with training_environments(config, process, restart) as environments:
        script = load_script(config.missing).to_dict()
        evaluate = Evaluation(config) if config.evaluate_episodes else None
        return mummi.train(config, environments, evaluate, script)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and trains."""
    with explain():
        print(f"run: {train(parse_config(arguments))}")


if __name__ == "__main__":
    main()
