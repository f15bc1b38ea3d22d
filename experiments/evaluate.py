"""Evaluates a trained run with sensors missing: python -m experiments.evaluate --logdir D."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tyro
from rich.console import Console

from experiments.command_line import explain
from experiments.evaluation import faults
from experiments.evaluation.agreement import agreement, show
from experiments.evaluation.conditions import CONTROL, Condition, conditions, require_distinct
from experiments.evaluation.playing import Stage, play
from experiments.evaluation.result import Result
from experiments.evaluation.rollout import episode_numbers, write_json
from experiments.evaluation.saved import Files
from experiments.evaluation.summary import table
from experiments.evaluation.trained import Trained
from experiments.evaluation.trust import measured
from experiments.imitation import held_out
from mummi import pretrained
from mummi.config import NO_SIMULATOR, check_seed
from mummi.runs import record as run
from mummi.runs.logger import FRAMES_PER_SECOND, write_video


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates the last checkpoint of a run on seeds and clips that training never used.

    A run that has learned from data without a simulator is evaluated on its held-out
    demonstrations, and takes --missing, --drop, --drop-missing, --seed, --keep and --out alone.

    Episode n follows from seed and n alone, so that every row plays the same episodes, however
    many run in parallel, and parts of an evaluation make a whole: episodes are added to those that
    the file has of the same checkpoint, seed and background.

    Attributes:
        logdir: folder of the run.
        pretrained: in place of --logdir, the name of an agent that comes with the package.
        missing: sensor dropout scripts, one row each: none, medium, high, published_medium,
            published_high, faults, or YAML files; by default none medium high, on LIBERO and
            robomimic none.
        drop: sensors removed entirely, one row each; rgb+depth removes both in one row. By default
            nothing is removed, on LIBERO and robomimic each camera
            and both.
        drop_missing: sensor dropout scripts of what is left, a row of each --drop for each.
        episodes: episodes of each row, a count or FIRST:END; 30 is 0:30, and 5:8 is 5, 6 and 7.
        trust: leave out sensors that lie. The thresholds of a checkpoint are measured the first
            time, on healthy episodes of their own, and kept in LOGDIR/trust.
        missing_as_zeros: deliver what is missing as zeros, as if it were there: the control of
            masks.
        faults: standard adds every fault of every sensor that can lie, each announced, unannounced,
            and unannounced with trust; writes faults/severity-N.json and a picture.
        severity: of the faults, 1 (mild) to 3.
        video: write a video of the first episode of each row.
        random: add the row of the random policy.
        expert: add the row of the task's scripted expert, which knows the true state.
        agreement: with the row none, also decode the physical state from each sensor alone and
            across sensors, into agreement.json.
        background: as in training by default; natural, none or a path.
        seed: evaluation seed; by default the run's.
        envs: environments that run in parallel.
        keep: play only the episodes that a row's file lacks.
        out: folder of what is written; by default the run's, or runs/pretrained/NAME.
    """

    logdir: str = ""
    pretrained: str = ""
    missing: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    drop_missing: tuple[str, ...] = ("none",)
    episodes: int | str = 30
    trust: Literal["on", "off"] = "off"
    missing_as_zeros: bool = False
    faults: Literal["none", "standard"] = "none"
    severity: int = 2
    video: bool = False
    random: bool = False
    expert: bool = False
    agreement: bool = True
    background: str | None = None
    seed: int | None = None
    envs: int = 2
    keep: bool = False
    out: str = ""


def evaluate(arguments: Arguments) -> dict[str, Result]:
    """Plays every condition; writes ``eval/NAME.json`` and videos; prints the tables.

    Returns:
        By condition that was played, all episodes that its file has.

    Raises:
        ValueError: a setting that makes no sense, or a file that holds another evaluation of this
            checkpoint.
    """
    numbers = episode_numbers(arguments.episodes)
    if arguments.envs < 1:
        raise ValueError(f"--envs {arguments.envs} must be at least 1")
    logdir = pathlib.Path(arguments.logdir)
    out = pathlib.Path(arguments.out or logdir)
    record = run.load(logdir)
    config = record.config
    if arguments.background is not None:
        config = dataclasses.replace(config, background=arguments.background)
    seed = config.seed if arguments.seed is None else arguments.seed
    check_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    trained, console = Trained.load(logdir, record), Console()
    rows, lies = asked_rows(arguments, record), asked_faults(arguments, record)
    judged = bool(lies) and trained.can_trust(console)
    hard = faults.conditions(lies, judged) if lies else []
    careful = trained
    if any(row.trust for row in (*rows, *hard)):
        found = measured(trained, record.config, logdir, arguments.envs, console)
        careful = trained.trusting(found)
    common = {
        "task": config.task,
        "method": config.method,
        "seed": config.seed,
        "evaluation_seed": seed,
        "step": trained.step,
        "background": config.background,
    }
    with Stage(config, min(arguments.envs, len(numbers)), seed) as stage:
        player = Player(arguments, trained, careful, stage, console)
        files = Files(out, common)
        results = player.play(rows, files, numbers, decode=arguments.agreement)
        # Tables and plots, which look into eval/, do not show every fault.
        held = player.play(hard, Files(out / "faults", common), numbers)
    differences = files.compare()
    if played := {row.name: result for row, result in results.items() if row in player.played}:
        named = {row.name: differences[row.file] for row in rows if row.file in differences}
        console.print(table(config, trained.step, played, named))
    if player.decoded:
        console.print(show(player.decoded))
    if lies:
        title = f"{config.task}, {config.method}, seed {config.seed}, step {trained.step}, "
        title += f"severity {arguments.severity}"
        found = faults.report(lies, held, judged)
        path = out / "faults" / f"severity-{arguments.severity}.json"
        write_json(path, common | found)
        faults.picture(found, title, path.with_suffix(".png"))
        console.print(faults.table(found, title))
        console.print(f"picture: {path.with_suffix('.png')}")
    return {row.name: result for row, result in (results | held).items() if row in player.played}


class Player:
    """Plays conditions, writes their files, and says what comes of them.

    Args:
        arguments: of the command.
        trained: acts.
        careful: the same, who leaves out sensors that lie.
        stage: where.
        console: where it is said.

    Attributes:
        played: conditions of which episodes were played.
        decoded: how the sensors agree, of the condition in which nothing is missing.
    """

    def __init__(
        self,
        arguments: Arguments,
        trained: Trained,
        careful: Trained,
        stage: Stage,
        console: Console,
    ):
        self._arguments, self._stage, self._console = arguments, stage, console
        self._trained, self._careful = trained, careful
        self.played: set[Condition] = set()
        self.decoded: dict[str, dict] = {}

    def play(
        self,
        rows: Sequence[Condition],
        files: Files,
        numbers: Sequence[int],
        *,
        decode: bool = False,
    ) -> dict[Condition, Result]:
        """Plays the episodes of each row that are wanted; returns all that its file then has.

        Where nothing is missing it may also decode the physical state from the sensors.
        """
        require_distinct(rows)
        results = {row: files.held(row) for row in rows}
        for row in self._stage.order(rows):
            held = results[row].numbers if self._arguments.keep else ()
            if lacking := [n for n in numbers if n not in held]:
                results[row] = self._play(row, files, lacking, decode)
                self.played.add(row)
                self._console.print(f"{row.name}: {results[row].mean:.4g}")
        return results

    def _play(self, row: Condition, files: Files, numbers: Sequence[int], decode: bool) -> Result:
        trained = self._careful if row.trust else self._trained
        decode = decode and not trained.imitates and row.name == CONTROL
        options = {"video": self._arguments.video, "record": decode}
        outcome = play(trained, self._stage, row, numbers, self._console, **options)
        more = {"measures": outcome.measures} if trained.imitates else {}
        if outcome.frames:
            path = files.folder / "videos" / f"evaluation-{row.file}.mp4"
            write_video(path, np.stack(outcome.frames), FRAMES_PER_SECOND)
            self._console.print(f"video: {path}")
        if outcome.recording:
            seed = self._stage.seed
            self.decoded = agreement(trained.agent, trained.parameters, outcome.recording, seed)
            files.save_agreement(self.decoded, len(outcome.recording.episodes()))
        return files.save(row, outcome.result, **more)


def asked_rows(arguments: Arguments, record: run.Run) -> list[Condition]:
    """The conditions that are asked for beside the faults.

    Raises:
        ValueError: nothing is asked for, or a sensor that is unknown or cannot fail.
    """
    missing, drop = arguments.missing, arguments.drop
    if arguments.faults != "none":
        # Nothing else is usual beside these.
        missing, drop = missing or (), drop or ()
    rows = conditions(
        record,
        missing,
        drop,
        arguments.drop_missing,
        random=arguments.random,
        expert=arguments.expert,
        trust=arguments.trust == "on",
        as_zeros=arguments.missing_as_zeros,
        filmed=arguments.video,
    )
    if not rows and arguments.faults == "none":
        raise ValueError(
            "nothing to evaluate: give --missing, --drop, --faults, --random or --expert"
        )
    return rows


def asked_faults(arguments: Arguments, record: run.Run) -> list[faults.Fault]:
    """The faults that are asked for."""
    if arguments.faults == "none":
        return []
    return faults.faults(record.modalities, arguments.severity)


HELD_OUT = ("missing", "drop", "drop_missing", "seed", "keep", "out")
"""Settings of an evaluation without a simulator, beside the folder."""


def evaluate_held_out(arguments: Arguments) -> None:
    """Evaluates a run that has learned from data alone on its held-out demonstrations.

    Raises:
        ValueError: a setting that needs a simulator; as ``held_out.evaluate``.
    """
    given = vars(arguments)
    for field in dataclasses.fields(arguments):
        if field.name not in ("logdir", *HELD_OUT) and given[field.name] != field.default:
            raise ValueError(
                f"--{field.name.replace('_', '-')} needs a simulator, and {arguments.logdir!r} has "
                "learned from data without one: it can be evaluated on its held-out "
                "demonstrations, with --missing, --drop, --drop-missing and --seed"
            )
    settings = {name: given[name] for name in HELD_OUT}
    held_out.evaluate(pathlib.Path(arguments.logdir), **settings)


def located(arguments: Arguments) -> Arguments:
    """The arguments with the folders that they mean.

    Raises:
        ValueError: neither a run nor a pretrained agent is named, or both, or an unknown one.
    """
    if bool(arguments.logdir) == bool(arguments.pretrained):
        raise ValueError(
            "give the folder of a run, --logdir RUN, or an agent that comes with the package, "
            f"--pretrained NAME ({', '.join(pretrained.names()) or 'none comes with this version'})"
        )
    if not arguments.pretrained:
        return arguments
    logdir = pretrained.folder(pretrained.PREFIX + arguments.pretrained)
    out = arguments.out or f"runs/pretrained/{arguments.pretrained}"
    return dataclasses.replace(arguments, logdir=str(logdir), pretrained="", out=out)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.evaluate", args=arguments)
        parsed = located(parsed)
        simulated = run.load(parsed.logdir).config.task != NO_SIMULATOR
        (evaluate if simulated else evaluate_held_out)(parsed)


if __name__ == "__main__":
    main()
