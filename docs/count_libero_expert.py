"""Counts the successes of LIBERO's scripted expert: a row a task, in Markdown.

One episode from each of the training's initial states, without pictures. Run where LIBERO is
installed: python docs/count_libero_expert.py libero_spatial libero_object libero_goal libero_10
"""

import sys

import numpy as np

from envs.libero.expert import LiberoExpert
from envs.libero.simulator import REST, LiberoSimulator, suite_tasks
from envs.libero.tasks import SETTLE, TRAINING_STATES, horizon_of


def steps_to_success(simulator: LiberoSimulator, state: int, seed: int) -> int | None:
    """Control steps of an episode from an initial state; None where the horizon ends it."""
    simulator.reset_to(state, np.random.SeedSequence(seed))
    for _ in range(SETTLE):
        simulator.step(REST)
    expert = LiberoExpert(simulator)
    for step in range(1, horizon_of(simulator.task.suite) + 1):
        if simulator.step(expert()):
            return step
    return None


def main(suites: list[str]) -> None:
    """Prints the table of each suite's tasks."""
    print("| task | success | steps |\n|---|---|---|", flush=True)
    for suite in suites:
        for task in suite_tasks(suite):
            simulator = LiberoSimulator(task)
            taken = [steps_to_success(simulator, state, seed=state) for state in TRAINING_STATES]
            done = [steps for steps in taken if steps is not None]
            name = f"{suite.removeprefix('libero_')}/{task.index} {task.instruction}"
            spread = f"{min(done)}, {int(np.median(done))}, {max(done)}" if done else ""
            print(f"| {name} | {len(done)} of {len(taken)} | {spread} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
