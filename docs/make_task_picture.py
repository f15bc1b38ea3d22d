"""Draws docs/images/tasks.png: what every task's sensors deliver, one row a task.

Run where the package is installed: python docs/make_task_picture.py
"""

import io
import pathlib

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import envs

PICTURE = pathlib.Path(__file__).parent / "images" / "tasks.png"
COLOURS = 224  # natural textures compress badly, a palette keeps the file small

TASKS = ("walker_stand", "walker_walk", "walker_run", "finger_spin", "cup_catch")
STEPS = (5, 15, 25)
COLUMNS = ("rgb, plain", *(f"rgb, natural, step {step}" for step in STEPS), "depth", "touch")


def episode(task: str, seed: int, background: str) -> list[envs.TimeStep]:
    """Time steps of an episode's beginning under smoothly varying random actions."""
    environment = envs.make(task, seed=seed, background=background)
    rng = np.random.default_rng(seed)
    steps, action = [environment.reset()], np.zeros(environment.action_size)
    for _ in range(STEPS[-1]):
        action = 0.7 * action + rng.normal(0, 0.7, environment.action_size)
        steps.append(environment.step(action))
    environment.close()
    return steps


def main() -> None:
    """Writes the picture."""
    figure, axes = plt.subplots(len(TASKS), len(COLUMNS), figsize=(7.8, 6.6), dpi=100)
    for seed, (row, task) in enumerate(zip(axes, TASKS, strict=True)):
        plain = episode(task, seed, "none")
        natural = episode(task, seed, "natural")
        pictures = [plain[STEPS[0]].values["rgb"], *(natural[s].values["rgb"] for s in STEPS)]
        for axis, picture in zip(row, pictures, strict=False):
            axis.imshow(picture)
        row[4].imshow(natural[STEPS[-1]].values["depth"][..., 0], cmap="viridis", vmin=0, vmax=1)
        touch = np.stack([step.values["touch"] for step in natural])
        row[5].plot(touch, linewidth=1)
        row[5].set_ylim(-0.05, 1.1)
        row[5].set_box_aspect(1)
        row[0].set_ylabel(task, fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=7)
    figure.tight_layout(pad=0.3)
    drawing = io.BytesIO()
    figure.savefig(drawing)
    PICTURE.parent.mkdir(exist_ok=True)
    Image.open(drawing).convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
