"""Says where an agent loses: python -m experiments.diagnose --logdir RUN [RUN ...]."""

import dataclasses
import pathlib
from typing import Any

import matplotlib
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from envs.failures.script import load_script
from experiments.benchmarks.stages import stage_costs
from experiments.command_line import explain
from experiments.evaluation.conditions import Condition
from experiments.evaluation.diagnosis import diagnose
from experiments.evaluation.playing import Stage, play
from experiments.evaluation.rollout import episode_numbers, write_json
from experiments.evaluation.trained import Trained
from mummi.imitation.record import is_imitation
from mummi.runs import devices
from mummi.runs import record as run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS = (1, 3, 5, 7, 12)
"""Of the prediction without a look that the table shows."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Where agents lose: what their latents know, how far ahead, and what the processor does.

    Episodes are numbered as in experiments.evaluate. Each run gets RUN/diagnosis.json, and all of
    them one table and one picture.

    Attributes:
        logdir: folders of runs of experiments.train.
        episodes: to play with each, a count or FIRST:END.
        missing: sensor dropout script that they are played under.
        envs: environments that run in parallel.
        cost: also time what the processor is busy with in training.
        out: PNG to write; by default diagnosis.png in the first run's folder.
    """

    logdir: tuple[str, ...]
    episodes: int | str = 5
    missing: str = "none"
    envs: int = 1
    cost: bool = True
    out: str = ""


def diagnose_run(logdir: pathlib.Path, arguments: Arguments, console: Console) -> dict[str, Any]:
    """Plays episodes with a run's last checkpoint; returns its diagnosis, and writes it.

    Raises:
        ValueError: the run has no world model of its own that learned from rewards.
        FileNotFoundError: there is no run or no checkpoint.
    """
    record, numbers = run.load(logdir), episode_numbers(arguments.episodes)
    if is_imitation(logdir):
        raise ValueError(
            f"{logdir} is a run of experiments.imitate, whose world model knows no reward and "
            "no critic; name a run of experiments.train"
        )
    config, trained = record.config, Trained.load(logdir, record)
    row = Condition(load_script(arguments.missing).name, arguments.missing)
    with Stage(config, min(arguments.envs, len(numbers)), config.seed) as stage:
        outcome = play(trained, stage, row, numbers, console, record=True)
    episodes = outcome.recording.episodes()
    found = {
        "task": config.task,
        "method": config.method,
        "preset": config.preset,
        "seed": config.seed,
        "step": trained.step,
        "missing": row.name,
        "numbers": list(numbers),
        "return": outcome.result.mean,
    }
    with console.status(f"{logdir}: what its latents know"):
        found |= diagnose(trained.agent, trained.parameters, episodes, config.seed)
    if arguments.cost:
        with console.status(f"{logdir}: what the processor does"):
            # What an update costs does not depend on what was learned.
            state = devices.run_once(trained.agent.init, config.seed)
            found["cpu"] = stage_costs(trained.agent, state)
    write_json(logdir / "diagnosis.json", found)
    return found


def rows(found: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of one diagnosis that the table shows, by name."""
    shown = {"return": found["return"]}
    shown |= {f"reward R², {n} ahead": found["reward_ahead"][n - 1] for n in STEPS}
    for name, errors in found["windows"].items():
        shown |= {f"reward error, window step {n}, {name}": errors[n] for n in (0, 4)}
    shown["critic's correlation with returns"] = found["critic"]
    state = found["state"]
    if state:
        shown["state R² from z"] = state["latent"]
        shown |= {f"state R², {n} ahead": state["ahead"][n - 1] for n in STEPS}
        shown |= {f"state R² from {name} alone": value for name, value in state["sensors"].items()}
        shown |= {f"{name} R² from z": value for name, value in state["parts"].items()}
    for name, calibrated in found["calibration"].items():
        shown[f"{name}'s std, rank correlation"] = calibrated["rank"]
        shown[f"{name}'s std, error in stds"] = calibrated["scale"]
    total = sum(found.get("cpu", {}).values())
    shown |= {
        f"CPU, {name}, %": 100 * value / total for name, value in found.get("cpu", {}).items()
    }
    if total:
        shown["CPU-s of 1,000 steps"] = total
    return shown


def table(names: list[str], diagnoses: list[dict[str, Any]]) -> Table:
    """One column a run."""
    first = diagnoses[0]
    view = Table(
        title=f"{first['task']}, missing {first['missing']}, {len(first['numbers'])} episodes",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    view.add_column("measure")
    columns = [rows(found) for found in diagnoses]
    for name, found in zip(names, diagnoses, strict=True):
        view.add_column(f"{name}\nstep {found['step']}", justify="right")
    for measure in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(measure) for column in columns]
        view.add_row(measure, *("–" if value is None else f"{value:.3g}" for value in values))
    return view


def draw(path: pathlib.Path, names: list[str], diagnoses: list[dict[str, Any]]) -> None:
    """One picture of all runs: prediction, windows, calibration, and the processor's time."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), dpi=110, layout="constrained")
    ahead, state, windows, reads, ranks, cpu = axes.flat
    for index, (name, found) in enumerate(zip(names, diagnoses, strict=True)):
        color = f"C{index}"
        steps = np.arange(1, 1 + len(found["reward_ahead"]))
        _line(ahead, steps, found["reward_ahead"], color=color, label=name)
        if found["state"]:
            _line(state, steps, found["state"]["ahead"], color=color)
            known = {"z": found["state"]["latent"]} | found["state"]["sensors"]
            _bars(reads, known, index, len(names))
        for kind, style in (("cold", "-"), ("warm", ":")):
            windows.plot(found["windows"][kind], style, color=color)
        rank = {name: value["rank"] for name, value in found["calibration"].items()}
        _bars(ranks, rank, index, len(names))
        _bars(cpu, found.get("cpu", {}), index, len(names))
    titles = {
        ahead: "reward ahead without a look, R²",
        state: "physical state ahead, R²",
        windows: "reward error by step of a window:\ncold (line), from the whole past (dots)",
        reads: "physical state read from, R²",
        ranks: "expert's std against its distance\nto the others, rank correlation",
        cpu: "CPU-s of 1,000 environment steps",
    }
    for panel, title in titles.items():
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.3)
    for panel in (ahead, state):
        panel.set_ylim(-0.5, 1)
        panel.set_xlabel("steps ahead")
    windows.set_yscale("log")
    windows.set_xlabel("step of the window")
    ahead.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _line(panel, steps, values, **style) -> None:
    panel.plot(steps, [np.nan if value is None else value for value in values], **style)


def _bars(panel, values: dict[str, float], index: int, count: int) -> None:
    """The bars of one of ``count`` runs beside those of the others."""
    places = np.arange(len(values)) + (index - (count - 1) / 2) * 0.8 / count
    panel.bar(places, list(values.values()), 0.8 / count, color=f"C{index}")
    panel.set_xticks(np.arange(len(values)), list(values), fontsize=8)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and diagnoses."""
    with explain():
        asked = tyro.cli(Arguments, prog="python -m experiments.diagnose", args=arguments)
        if not asked.logdir:
            raise ValueError("--logdir names no run")
        console = Console()
        folders = [pathlib.Path(name) for name in asked.logdir]
        diagnoses = [diagnose_run(folder, asked, console) for folder in folders]
        names = [folder.name for folder in folders]
        if len(set(names)) < len(names):
            names = [str(folder) for folder in folders]
        console.print(table(names, diagnoses))
        out = pathlib.Path(asked.out or folders[0] / "diagnosis.png")
        draw(out, names, diagnoses)
        console.print(f"picture: {out}")


if __name__ == "__main__":
    main()
