"""Sweeps from YAML files: what they say, and mistakes in them."""

import pathlib

import pytest

from experiments import imitate, sweep
from experiments.command_line import parse_config
from experiments.sweeping.file import read

ROOT = pathlib.Path(__file__).parents[3]
FILES = sorted((ROOT / "experiments/sweeps").glob("*.yaml"))

TEXT = """
about: Does a shorter horizon help?
tasks: [walker_walk, finger_spin]
seeds: [0, 1]
preset: laptop
episodes: 5
settings: {steps: 9000, model: {image_widths: [4, 8, 8], norm: true}}
variants:
  preset: {}
  short: {behavior.horizon: 7}
"""


def written(folder, text) -> str:
    path = folder / "screen.yaml"
    path.write_text(text)
    return str(path)


def test_settings_are_of_all_runs_and_variants_add_theirs(tmp_path):
    found = read(written(tmp_path, TEXT))
    arguments = sweep.Arguments(logdir=str(tmp_path / "runs"), **found.grid)
    jobs = sweep.grid(arguments, variants=found.flags)
    assert len(jobs) == 8
    # All variants of one seed come before the next seed.
    assert [job.seed for job in jobs] == [0] * 4 + [1] * 4
    for job in jobs:
        config = parse_config(list(job.flags))
        assert (config.steps, config.model.norm) == (9000, True)
        assert config.model.image_widths == (4, 8, 8)
        assert config.behavior.horizon == (7 if job.variant == "short" else 12)
        assert job.name == f"{job.variant}/{job.task}/mummi-laptop-{job.seed}"
        assert job.logdir == config.logdir == str(tmp_path / "runs" / job.name)


def test_flags_change_what_a_file_says(tmp_path):
    found = read(written(tmp_path, TEXT))
    grid = found.grid | {"seeds": (7,), "variants": ("short",)}
    arguments = sweep.Arguments(logdir=str(tmp_path / "runs"), **grid)
    jobs = sweep.grid(arguments, ("--steps", "10000"), found.flags)
    assert {(job.variant, job.seed, job.steps) for job in jobs} == {("short", 7, 10000)}


HEADS = """
command: imitate
world_model: bc
tasks: [dummy]
seeds: [0, 1]
preset: debug
episodes: 2
settings: {data: d.hdf5, missing: none}
variants:
  mse: {head: mse, head.execute: 1}
  bc: {head: bc, updates: 8, head.sample: true, model.norm: true}
"""


def test_heads_take_the_world_model_of_one_of_them(tmp_path):
    found = read(written(tmp_path, HEADS))
    arguments = sweep.Arguments(logdir=str(tmp_path), **found.grid)
    jobs = {job.name: job for job in sweep.grid(arguments, variants=found.flags)}
    assert len(jobs) == 4 and {job.command for job in jobs.values()} == {"imitate"}
    own, other = (jobs[f"{name}/dummy/mummi-debug-1"] for name in ("bc", "mse"))
    config, imitation, options = imitate.parse(list(own.flags))
    assert (config.task, config.seed, config.missing) == ("dummy", 1, "none")
    assert (config.evaluate_episodes, options.random) == (2, True)
    assert (imitation.head, imitation.updates, imitation.world_model) == ("bc", 8, "")
    assert (imitation.settings.sample, config.model.norm) == (True, True)
    assert config.logdir == own.logdir == str(tmp_path / own.name) and not own.source
    assert other.flags[-2:] == ("--world-model", own.logdir) and other.source == own.logdir
    imitation = imitate.parse(list(other.flags[:-2]))[1]
    assert (imitation.head, imitation.data, imitation.settings.execute) == ("mse", "d.hdf5", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("head.execute", "head.exeute"), "--head.exeute"),
        (("world_model: bc", "world_model: cb"), "unknown variant 'cb' (variants are mse, bc)"),
        (("episodes: 2", "episodes: '0:2'"), "a count of episodes: give --episodes N"),
        (("command: imitate", "command: train"), "--world-model is for --command imitate"),
        (("missing: none", "missing: nnoe"), "nnoe"),
        (("settings: {", "settings: {seed: 7, "), "would replace the grid's 0"),
    ],
)
def test_a_mistake_in_a_sweep_of_heads_is_found_before_anything_starts(
    tmp_path, capsys, change, said
):
    path = written(tmp_path, HEADS.replace(*change))
    with pytest.raises(SystemExit):
        sweep.main([path, "--logdir", str(tmp_path / "runs")])
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("command: evaluate", "command is 'evaluate'; it must be train or imitate"),
        ("tasks: [a", "is no YAML"),
        ("- a", "is no mapping; its keys are about, command"),
        ("task: [walker_walk]", "unknown key 'task'; did you mean 'tasks'"),
        ("tasks: walker_walk", "tasks is 'walker_walk'; it must be a list"),
        ("tasks: [null]", "tasks is [None]; it must be a list of names"),
        ("seeds: [0.5]", "seeds is [0.5]; it must be a list of whole numbers"),
        ("preset: [debug]", "preset is ['debug']; it must be a name"),
        ("episodes: null", "episodes is None; it must be a count, or FIRST:END"),
        ("settings: 3", "settings is 3; it maps names of settings to values"),
        ("variants: [a]", "variants is ['a']; it maps names to settings"),
        ("variants: {a/b: {}}", "a variant is named 'a/b', which names no folder"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, said):
    with pytest.raises(ValueError) as error:
        read(written(tmp_path, text))
    assert said in str(error.value)


def test_what_is_no_text_is_said_to_be_none(tmp_path):
    path = tmp_path / "screen.yaml"
    path.write_bytes(b"tasks: [\xff]")
    with pytest.raises(ValueError, match=r"screen.yaml is no YAML"):
        read(str(path))


def test_a_mistake_in_a_setting_is_found_before_anything_starts(tmp_path, capsys):
    path = written(tmp_path, TEXT.replace("behavior.horizon", "behavior.horizn"))
    with pytest.raises(SystemExit) as end:
        sweep.main([path, "--logdir", str(tmp_path / "runs")])
    assert end.value.code == 2
    assert "behavior.horizn" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_file_or_variant_that_is_not_there_is_said(tmp_path, capsys):
    path = written(tmp_path, TEXT)
    for arguments, said in (
        [("nowhere.yaml",), "nowhere.yaml"],
        [(path, "--variants", "shrt"), "did you mean 'short'"],
    ):
        with pytest.raises(SystemExit):
            sweep.main([*arguments, "--logdir", str(tmp_path / "runs")])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_sweep_of_the_repository_can_be_started(path, tmp_path):
    found = read(str(path))
    arguments = sweep.Arguments(logdir=str(tmp_path), **found.grid)
    assert sweep.grid(arguments, variants=found.flags)
