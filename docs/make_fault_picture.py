"""Draws docs/images/faults.png: what each standard fault makes of a camera, a depth map and touch.

Run where the package is installed: python docs/make_fault_picture.py
"""

import io
import pathlib

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import envs
from envs.failures.standard import FAULTS, SEVERITIES, START, standard_faults

PICTURE = pathlib.Path(__file__).parent / "images" / "faults.png"
COLOURS = 224  # natural textures compress badly, a palette keeps the file small
TASK, SEED = "walker_walk", 0
LOOK = START + 15
"""Step that is shown: by then a frozen or late sensor has fallen behind."""


def seen(script) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values at the step that is shown, and touch [T, D] up to it, under a script."""
    environment = envs.make(TASK, seed=SEED, missing=script)
    random = np.random.default_rng(SEED)
    step, action = environment.reset(0), np.zeros(environment.action_size)
    touch = [step.values["touch"]]
    for _ in range(LOOK):
        action = 0.7 * action + random.normal(0, 0.7, environment.action_size)
        step = environment.step(np.clip(action, -1, 1))
        touch.append(step.values["touch"])
    environment.close()
    return step.values, np.stack(touch)


def draw(axis, sensor: str, values: dict[str, np.ndarray], touch: np.ndarray) -> None:
    """What a sensor says."""
    if sensor == "rgb":
        axis.imshow(values["rgb"])
    elif sensor == "depth":
        axis.imshow(values["depth"][..., 0], cmap="viridis", vmin=0, vmax=1)
    else:
        axis.plot(touch, linewidth=0.7)
        axis.axvline(START, color="0.8", linewidth=0.7)
        axis.set_ylim(-1.1, 1.1)
        axis.set_box_aspect(1)


def main() -> None:
    """Writes the picture: a row a fault, for each sensor the severities beside each other."""
    environment = envs.make(TASK)
    environment.close()
    modalities = environment.modalities
    columns = [(m.name, severity) for m in modalities for severity in SEVERITIES]
    rows = ["healthy", *FAULTS]
    size = (0.95 * len(columns), 0.95 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, dpi=80)
    scripts = {severity: standard_faults(modalities, severity) for severity in SEVERITIES}
    healthy = seen("none")
    for row, fault in zip(axes, rows, strict=True):
        for axis, (sensor, severity) in zip(row, columns, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            script = scripts[severity][sensor].get(fault)
            if fault == "healthy":
                draw(axis, sensor, *healthy)
            elif script:
                draw(axis, sensor, *seen(script))
            else:
                axis.spines[:].set_visible(False)
        row[0].set_ylabel(fault, fontsize=8)
    for axis, (sensor, severity) in zip(axes[0], columns, strict=True):
        axis.set_title(f"{sensor} {severity}", fontsize=8)
    figure.tight_layout(pad=0.2)
    drawing = io.BytesIO()
    figure.savefig(drawing)
    Image.open(drawing).convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
