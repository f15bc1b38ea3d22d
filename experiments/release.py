"""Makes an agent that can be given away of a run: python -m experiments.release --logdir RUN."""

import dataclasses
import json
import pathlib
import shutil
import tempfile

import tyro

from experiments.command_line import explain
from experiments.evaluation.trained import Trained
from mummi.agent import Agent
from mummi.data.episode import save_episode
from mummi.imitation import record as imitation
from mummi.imitation.pilot import HEAD, head_arrays
from mummi.imitation.scaling import FILE as SCALING
from mummi.runs import parameters, thresholds
from mummi.runs import record as run

CARD = "README.md"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Writes what acting and evaluating need of a run, in half precision, with a card.

    The card has the scores of the run's evaluations, so evaluate it first; the thresholds of trust
    come along where they were measured.

    Attributes:
        logdir: folder of the run.
        out: folder of the agent; mummi/pretrained/NAME comes with the package.
        command: that made the run, for the card.
        commit: that made the run, for the card.
        limits: what the agent cannot do, for the card.
    """

    logdir: str
    out: str
    command: str
    commit: str
    limits: str


def release(arguments: Arguments) -> pathlib.Path:
    """Writes the folder; returns it.

    Raises:
        ValueError: it is there already, or the run was not evaluated at its last checkpoint.
        FileNotFoundError: there is no run or no checkpoint.
    """
    logdir, out = pathlib.Path(arguments.logdir), pathlib.Path(arguments.out)
    record = run.load(logdir)
    step = Trained.load(logdir, record).step
    scores = evaluations(logdir, step)
    if not scores:
        raise ValueError(
            f"{logdir} was not evaluated at step {step}; python -m experiments.evaluate "
            f"--logdir {logdir} --random does it"
        )
    if out.exists():
        raise ValueError(f"--out {str(out)!r} is there already; remove it, or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        made = pathlib.Path(temporary, "agent")
        made.mkdir()
        fill(made, logdir, record, step)
        (made / CARD).write_text(card(arguments, record, step, scores))
        made.rename(out)
    return out


def fill(out: pathlib.Path, logdir: pathlib.Path, record: run.Run, step: int) -> None:
    """Writes all but the card; paths of the machine that made the run stay there."""
    run.save(out, record._replace(config=dataclasses.replace(record.config, logdir="")))
    imitates = imitation.is_imitation(logdir)
    if not imitates or imitation.load(logdir).reads_latents:
        agent = Agent(record.config, record.modalities, record.action_size)
        parameters.save(out, *parameters.load(logdir, agent))
    if imitates:
        save_head(logdir, out)
    judged = thresholds.path(logdir, step)
    if judged.is_file():
        thresholds.path(out, step).parent.mkdir()
        shutil.copyfile(judged, thresholds.path(out, step))


def evaluations(logdir: pathlib.Path, step: int) -> dict[str, dict]:
    """What the run's evaluations of a checkpoint say, by condition."""
    contents = {path.stem: json.loads(path.read_text()) for path in logdir.glob("eval/*.json")}
    return {name: found for name, found in sorted(contents.items()) if found.get("step") == step}


def save_head(logdir: pathlib.Path, out: pathlib.Path) -> None:
    """Writes the action head in half precision, and how data are read and scaled."""
    arrays = head_arrays(logdir / HEAD)
    save_episode(out / HEAD, {name: parameters.halved(name, x) for name, x in arrays.items()})
    made = imitation.load(logdir)
    names = {name: pathlib.Path(getattr(made, name)).name for name in ("data", "world_model")}
    imitation.save(out, dataclasses.replace(made, **names))
    for name in (imitation.SPLIT, imitation.INSTRUCTIONS, SCALING):
        if (logdir / name).is_file():
            shutil.copyfile(logdir / name, out / name)


def card(arguments: Arguments, record: run.Run, step: int, scores: dict[str, dict]) -> str:
    """The card, Markdown."""
    config = record.config
    made = f"{config.task} by {config.method}, preset {config.preset}, seed {config.seed}"
    sensors = ", ".join(m.name for m in record.modalities)
    seen = f"Background {config.background}, missing in training: {config.missing}."
    lines = [
        f"# {pathlib.Path(arguments.out).name}",
        "",
        f"{made}, step {step:,}; sensors {sensors}. {seen}",
        f"Made at commit `{arguments.commit}` by",
        "",
        "```sh",
        arguments.command,
        "```",
        "",
        "| condition | missing | mean [95 %] | episodes |",
        "|---|---|---|---|",
    ]
    for name, found in scores.items():
        low, high = found["interval95"] or (float("nan"),) * 2
        missing = f"{100 * found['missing']:.0f} %"
        mean = f"{found['mean']:.4g} [{low:.4g}, {high:.4g}]"
        lines.append(f"| {name} | {missing} | {mean} | {found['episodes']} |")
    lines += ["", f"Limits: {arguments.limits}", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and writes the agent."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.release", args=arguments)
        print(f"released: {release(parsed)}")


if __name__ == "__main__":
    main()
