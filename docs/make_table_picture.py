"""Draws docs/images/table_views.png and table_randomised.png: Table Wiping as agents see it.

Run where the package is installed: python docs/make_table_picture.py
"""

import pathlib

import matplotlib.pyplot as plt

from envs.table_wiping.expert import WipingExpert
from envs.table_wiping.task import TableWiping

IMAGES = pathlib.Path(__file__).parent / "images"
STEPS = (0, 30, 60)
VIEWS = ("workspace", "robot")


def save(figure: plt.Figure, name: str) -> None:
    """Writes a figure without axes into docs/images."""
    for axis in figure.axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.3)
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / name)


def views() -> plt.Figure:
    """Both cameras, drawn cheaply at 64 pixels and in full, while the expert wipes."""
    environment = TableWiping(seed=1, randomisation=False)
    expert = WipingExpert(environment)
    figure, axes = plt.subplots(len(STEPS), 4, figsize=(7.8, 6.1), dpi=100)
    step = environment.reset()
    for k in range(STEPS[-1] + 1):
        if k in STEPS:
            row = axes[STEPS.index(k)]
            for i, view in enumerate(VIEWS):
                row[2 * i].imshow(step.values[f"{view}_rgb"], interpolation="nearest")
                row[2 * i + 1].imshow(environment.render(256, view))
            row[0].set_ylabel(f"step {k}, {step.info['wiped']:.0%} wiped", fontsize=7)
        step = environment.step(expert(step))
    titles = [f"{view}{kind}" for view in VIEWS for kind in ("_rgb, 64 pixels", ", full")]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=7)
    environment.close()
    return figure


def randomised() -> plt.Figure:
    """Twelve episodes' first steps from both cameras."""
    environment = TableWiping(seed=2)
    figure, axes = plt.subplots(4, 6, figsize=(7.8, 5.3), dpi=100)
    for k in range(12):
        step = environment.reset()
        for i, view in enumerate(VIEWS):
            axes[2 * (k // 6) + i, k % 6].imshow(step.values[f"{view}_rgb"])
    for row, view in zip(axes, 2 * VIEWS, strict=True):
        row[0].set_ylabel(f"{view}_rgb", fontsize=7)
    environment.close()
    return figure


def main() -> None:
    """Writes both pictures."""
    save(views(), "table_views.png")
    save(randomised(), "table_randomised.png")


if __name__ == "__main__":
    main()
