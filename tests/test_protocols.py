"""docs/metaworld.sh: the commands of the protocol, which the real ones take."""

import os
import pathlib
import subprocess

import pytest

from experiments import collect, imitate
from experiments.evaluation.conditions import conditions
from mummi.modality import Modality
from mummi.runs.record import Run
from tests.support.metaworld_here import needs_metaworld

pytestmark = needs_metaworld
ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def commands(tmp_path):
    """Runs the script with an interpreter that only writes down what it is told."""
    said, recorder = tmp_path / "said", tmp_path / "python"
    # What collect leaves: a file for each task of a group.
    recorder.write_text(
        f"""#!/usr/bin/env bash
echo "$@" >> {said}
[[ "$*" == *"collect --task metaworld_very_hard "* ]] && mkdir -p "${{@: -1}}" &&
    touch "${{@: -1}}"/{{a,b,c,d,e}}.hdf5
exit 0
"""
    )
    recorder.chmod(0o755)

    def run(*arguments):
        environment = os.environ | {"PYTHON": str(recorder)}
        script = [ROOT / "docs/metaworld.sh", "--data", str(tmp_path / "data"), *arguments]
        done = subprocess.run(script, env=environment, capture_output=True, text=True)
        lines = said.read_text().splitlines() if said.exists() else []
        return done, [line.removeprefix("-m experiments.").split() for line in lines]

    return run


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
