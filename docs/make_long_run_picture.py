"""Draws the memory and speed of a long run: make_long_run_picture.py MEMORY.csv RUN OUT.png.

MEMORY.csv has the columns seconds, training and environment, the last two in MiB. Run where the
package is installed.
"""

import pathlib
import sys

import matplotlib.pyplot as plt
import numpy as np

from mummi.runs.logger import read_metrics


def main(memory: str, run: str, out: str) -> None:
    """Both curves over the minutes since the start."""
    seconds, training, environment = np.loadtxt(memory, delimiter=",", skiprows=1).T
    figure, (upper, lower) = plt.subplots(2, sharex=True, figsize=(6, 4), dpi=100)
    upper.plot(seconds / 60, training / 1024, label="training")
    upper.plot(seconds / 60, environment / 1024, label="environment")
    upper.set_ylabel("resident GiB")
    upper.set_ylim(0)
    upper.legend()
    rows = [row for row in read_metrics(pathlib.Path(run)) if "steps_per_second" in row]
    steps = np.array([row["step"] for row in rows], float)
    rate = np.array([row["steps_per_second"] for row in rows])
    minutes = np.cumsum(np.diff(steps, prepend=0) / rate) / 60
    lower.plot(minutes, rate)
    lower.set_ylabel("environment steps/s")
    lower.set_xlabel("minutes")
    lower.set_ylim(0, 1.5 * np.median(rate))
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
