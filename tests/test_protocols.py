"""docs/metaworld.sh and docs/wiping.sh: their commands, which the real ones take."""

import os
import pathlib
import subprocess

import pytest

from experiments import collect, imitate
from experiments.evaluation.conditions import conditions
from mummi.modality import Modality
from mummi.runs.record import Run
from tests.support.metaworld_here import needs_metaworld

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def commands(tmp_path):
    """Runs the script with an interpreter that only writes down what it is told."""
    said, recorder = tmp_path / "said", tmp_path / "python"
    # What collect leaves: a file, of a group one for each task.
    recorder.write_text(
        f"""#!/usr/bin/env bash
echo "$@" >> {said}
[[ "$*" == *"collect --task metaworld_very_hard "* ]] && mkdir -p "${{@: -1}}" &&
    touch "${{@: -1}}"/{{a,b,c,d,e}}.hdf5
[[ "$*" == *"collect --task table_wiping "* ]] && touch "${{@: -1}}"
exit 0
"""
    )
    recorder.chmod(0o755)

    def run(*arguments, script="metaworld"):
        environment = os.environ | {"PYTHON": str(recorder)}
        words = [ROOT / f"docs/{script}.sh", "--data", str(tmp_path / "data"), *arguments]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        lines = said.read_text().splitlines() if said.exists() else []
        return done, [line.removeprefix("-m experiments.").split() for line in lines]

    return run


@needs_metaworld
def test_one_model_for_a_group_evaluates_each_task_as_often(commands, tmp_path):
    logdir = ("--logdir", str(tmp_path / "runs"))
    more = ("--heads", "bc mirror", "--demonstrations", "3", "--episodes", "4", *logdir)
    done, (first, *others) = commands("--group", "metaworld_very_hard", *more, "all")
    assert done.returncode == 0 and [words[0] for words in others] == ["imitate", "imitate"]
    own, config = collect.parse(first[1:])
    assert (own.episodes, config.task) == (3, "metaworld_very_hard")
    config, imitation, options = imitate.parse(others[0][1:])
    assert config.evaluate_episodes == 5 * 4 and imitation.data == own.out
    assert options.evaluate_missing == ("none",) and not imitation.world_model
    taken = others[1].index("--world-model")
    assert others[1][taken + 1] == config.logdir
    assert others[1][others[1].index("--head") + 1] == "mirror"


@needs_metaworld
def test_a_model_a_task_is_evaluated_without_each_of_its_sensors(commands):
    done, lines = commands("--heads", "bc", "each")
    assert done.returncode == 0 and len(lines) == 20
    assert [words[0] for words in lines] == ["collect", "imitate"] * 10
    config, imitation, options = imitate.parse(lines[1][1:])
    assert config.evaluate_episodes == 20
    assert collect.parse(lines[0][1:])[0].out == imitation.data
    sensors = [Modality(n, "image", (8, 8, 3)) for n in ("corner_rgb", "wrist_rgb")]
    run = Run(config, (*sensors, Modality("proprio", "vector", (4,))), 4)
    asked = imitate.conditions(run, imitation, options)
    rows = [row.name for row in conditions(run, asked.missing, asked.drop)]
    assert rows == ["none", *(f"without {n}" for n in ("corner_rgb", "wrist_rgb", "proprio"))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--heads"], "--heads needs a value"), (["some"], "unknown argument some"), ([], "--group")],
)
def test_a_mistake_is_told(commands, arguments, message):
    done, lines = commands(*arguments)
    assert done.returncode == 2 and message in done.stderr and not lines


def test_each_round_corrects_the_head_of_the_last_and_all_is_learned_again(commands, tmp_path):
    runs = tmp_path / "runs"
    more = ("--rounds", "2", "--seeds", "0 3", "--demonstrations", "5", "--logdir", str(runs))
    done, lines = commands(*more, script="wiping")
    assert done.returncode == 0, done.stderr
    a_seed = ["imitate", "collect", "imitate", "collect", "imitate"]
    assert [words[0] for words in lines] == ["collect", *a_seed, *a_seed]
    learned = [imitate.parse(words[1:]) for words in lines if words[0] == "imitate"]
    logdirs = [str(runs / seed / str(r)) for seed in "03" for r in range(3)]
    assert [config.logdir for config, _, _ in learned] == logdirs
    assert [config.evaluate_episodes for config, _, _ in learned] == [0, 0, 30] * 2
    folders = [str(tmp_path / "data" / seed) for seed in "000333"]
    assert [imitation.data for _, imitation, _ in learned] == folders
    expert, *corrected = [collect.parse(words[1:]) for words in lines if words[0] == "collect"]
    assert expert[0].episodes == 5
    assert [own.policy for own, _ in corrected] == [logdirs[k] for k in (0, 1, 3, 4)]
    assert {own.label for own, _ in corrected} == {"expert"}
    assert len({config.seed for _, config in (expert, *corrected)}) == 5
    assert {str(pathlib.Path(own.out).parent) for own, _ in corrected} == set(folders)
    configs = [config for config, _, _ in learned] + [config for _, config in corrected]
    assert len({tuple(config.env["sensors"]) for config in configs}) == 1
    # What a round learned of is not learned again when there is more.
    done, again = commands(*more, script="wiping")
    a_seed = ["collect", "collect", "imitate"]
    assert [words[0] for words in again[len(lines) :]] == ["collect", *a_seed, *a_seed]
