"""Counts the successes of LIBERO's scripted expert: a row a task, in Markdown.

One episode from each of the training's initial states, or every fifth of them, without pictures.
Run where LIBERO is installed: python docs/count_libero_expert.py --every 5 libero_goal libero_10/3
"""

import argparse

import numpy as np

from envs.libero.expert import LiberoExpert
from envs.libero.simulator import REST, SUITES, LiberoSimulator, suite_tasks
from envs.libero.tasks import TRAINING_STATES, timing


def steps_to_success(simulator: LiberoSimulator, state: int, seed: int) -> int | None:
    """Control steps of an episode from an initial state; None where the horizon ends it."""
    simulator.reset_to(state, np.random.SeedSequence(seed))
    times = timing(simulator.task.suite)
    for _ in range(times.settle):
        simulator.step(REST)
    expert = LiberoExpert(simulator)
    for step in range(1, times.horizon + 1):
        if simulator.step(expert()):
            return step
    return None


def main(names: list[str], every: int) -> None:
    """Prints the table of suites and single tasks, from every so-manieth initial state."""
    print("| task | success | steps |\n|---|---|---|", flush=True)
    states = TRAINING_STATES[::every]
    for suite, _, index in (name.partition("/") for name in names):
        for task in suite_tasks(suite)[int(index) :][:1] if index else suite_tasks(suite):
            simulator = LiberoSimulator(task)
            taken = [steps_to_success(simulator, state, seed=state) for state in states]
            done = [steps for steps in taken if steps is not None]
            name = f"{suite.removeprefix('libero_')}/{task.index} {task.instruction}"
            spread = f"{min(done)}, {int(np.median(done))}, {max(done)}" if done else ""
            print(f"| {name} | {len(done)} of {len(taken)} | {spread} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    known = [*SUITES, *(f"{suite}/{index}" for suite in SUITES for index in range(10))]
    parser.add_argument("names", nargs="+", choices=known, metavar="SUITE[/INDEX]")
    parser.add_argument("--every", type=int, default=1)
    main(**vars(parser.parse_args()))
