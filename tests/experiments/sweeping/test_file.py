"""Sweeps from YAML files: what they say, and mistakes in them."""

import pathlib

import pytest

from experiments import sweep
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [a", "is no YAML"),
        ("- a", "is no mapping; its keys are about, tasks"),
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
