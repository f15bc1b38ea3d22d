"""Counts the successes of MetaWorld's scripted experts: a row a task, in Markdown.

Episodes 0, 1, … of seed 0, without pictures; experts act on the true state.
Run where MetaWorld is installed: python docs/count_metaworld_expert.py --episodes 10 metaworld
"""

import argparse

import numpy as np

import envs
from envs.metaworld.catalogue import GROUPS, tasks_of
from envs.metaworld.tasks import HORIZON


def steps_to_success(environment: envs.Environment, number: int) -> int | None:
    """Control steps of the episode of a number; None where the horizon ends it."""
    step, count = environment.reset(number), 0
    while not step.is_last:
        step, count = environment.step(environment.expert_action()), count + 1
    return count if step.info["success"] else None


def main(group: str, episodes: int, horizon: int) -> None:
    """Prints the table of a group's tasks, and the sum."""
    print("| task | success | steps |\n|---|---|---|", flush=True)
    total = 0
    for task in tasks_of(group):
        environment = envs.make(f"metaworld/{task}", sensors=("proprio",), horizon=horizon)
        taken = [steps_to_success(environment, number) for number in range(episodes)]
        environment.close()
        done = [steps for steps in taken if steps is not None]
        spread = f"{min(done)}, {int(np.median(done))}, {max(done)}" if done else ""
        print(f"| {task} | {len(done)} of {episodes} | {spread} |", flush=True)
        total += len(done)
    print(f"| all | {total} of {episodes * len(tasks_of(group))} | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--horizon", type=int, default=HORIZON)
    main(**vars(parser.parse_args()))
